"""What counts as agreement, and what does not."""

from collections.abc import Sequence

import pytest
import torch
from PIL import Image
from torch import Tensor

from emotion_lightning.errors import DataError
from emotion_lightning.export.verification import Agreement, Answer, refuse_disagreement, varied, verify

PICTURES = [Image.new("RGB", (8, 8), (number, 0, 0)) for number in range(40)]
SURE, TORN = torch.tensor([0.7, 0.2, 0.1]), torch.tensor([0.5, 0.4999999, 1e-7])


def always(row: Tensor, shift: float = 0.0, first: int = -1) -> Answer:
    """Answer ``row`` for every picture, for the picture ``first`` moved from the first class to the second."""

    def answer(pictures: Sequence[Image.Image]) -> Tensor:
        rows = row.repeat(len(pictures), 1)
        for place, picture in enumerate(pictures):
            if picture.getpixel((0, 0))[0] == first:  # type: ignore[index]
                rows[place] += torch.tensor([-shift, shift, 0])
        return rows

    return answer


def test_each_batch_sees_every_picture_once() -> None:
    sizes: list[int] = []

    def counting(pictures: Sequence[Image.Image]) -> Tensor:
        sizes.append(len(pictures))
        return SURE.repeat(len(pictures), 1)

    found = verify(always(SURE), {"a": (counting, 1e-3)}, PICTURES)
    assert [(agreement.batch, agreement.images) for agreement in found] == [(1, 40), (7, 40), (32, 40)]
    assert sizes == [1] * 32 + [7, 7, 7, 7, 4] + [32] + [1] * 8 + [7, 1] + [8]


def test_one_picture_that_differs_shows_in_every_figure() -> None:
    for agreement in verify(always(SURE), {"a": (always(SURE, 0.3, first=35), 1e-3)}, PICTURES):
        assert agreement.greatest_difference == pytest.approx(0.3)
        assert (agreement.different_answers, agreement.contradictions, agreement.holds) == (1, 1, False)
        with pytest.raises(DataError, match=r"a does not answer as the checkpoint.* differs by 0\.3 .*1 of 40 answers"):
            refuse_disagreement([agreement])


def test_another_answer_is_accepted_only_where_the_two_best_are_as_good_as_equal() -> None:
    [agreement, *_] = verify(always(TORN), {"a": (always(TORN, 1e-6, first=3), 1e-5)}, PICTURES)
    assert (agreement.different_answers, agreement.contradictions, agreement.holds) == (1, 0, True)
    assert Agreement("a", 1, 1e-3, 40, 9e-4, different_answers=1, contradictions=1).holds is False
    refuse_disagreement([agreement])


def test_what_is_no_number_is_no_agreement() -> None:
    for broken in (torch.nan, torch.inf):
        for agreement in verify(always(SURE), {"a": (always(SURE, broken, first=0), 1e-3)}, PICTURES):
            assert not agreement.holds
    with pytest.raises(DataError, match="the checkpoint gives no numbers"):
        verify(always(torch.full((3,), torch.nan)), {"a": (always(SURE), 1e-3)}, PICTURES)


def test_nothing_to_compare_is_no_agreement() -> None:
    with pytest.raises(DataError, match="no picture"):
        verify(always(SURE), {"a": (always(SURE), 1e-3)}, [])


def test_some_pictures_are_given_as_gray_and_some_enlarged() -> None:
    found = list(varied((Image.new("RGB", (30, 20)) for _ in range(16)), 50_000))
    assert [place for place, picture in enumerate(found) if picture.mode == "L"] == [1, 9]
    large = [place for place, picture in enumerate(found) if picture.width * picture.height > 50_000]
    assert large == [5, 13]
    assert found[5].size == (300, 200)
    assert {picture.size for place, picture in enumerate(found) if place not in large} == {(30, 20)}
