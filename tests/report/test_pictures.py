from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from emotion_lightning.data.images import sheet
from emotion_lightning.evaluation.outputs import EvalOutputs
from emotion_lightning.report import pictures
from tests.helpers import Lab

NAMES = ["angry", "happy", "sad"]


@pytest.fixture
def sheets(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Tensor, list[str]]]:
    """Images and captions of each sheet made."""
    made, draw = [], sheet.contact_sheet

    def noted(images: Tensor, captions: list[str], **options: Any) -> Any:
        made.append((images, captions))
        return draw(images, captions, **options)

    monkeypatch.setattr(sheet, "contact_sheet", noted)
    return made


def outputs(probabilities: Sequence[Sequence[float]], labels: Sequence[int]) -> EvalOutputs:
    """Answers to images whose positions in the data are 10, 11 and so on."""
    count = len(labels)
    return EvalOutputs(torch.tensor(probabilities).double().log(), torch.tensor(labels), torch.arange(10, 10 + count))


def faces(indices: Sequence[int]) -> Tensor:
    """Images whose color is their position."""
    return torch.tensor(indices, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 32, 32)


SOME = outputs([[0.1, 0.2, 0.7], [0.9, 0.1, 0.0], [0.0, 0.4, 0.6], [0.2, 0.7, 0.1]], [1, 1, 2, 1])


def test_mistakes_are_the_most_confident_first(sheets: list[tuple[Tensor, list[str]]]) -> None:
    pictures.mistakes(SOME, faces, NAMES)
    ((shown, captions),) = sheets
    assert shown[:, 0, 0, 0].tolist() == [11, 10]
    assert captions == ["happy ->\nangry 0.90", "happy ->\nsad 0.70"]


def test_without_mistakes_or_right_answers_there_is_no_picture(lab: Lab) -> None:
    right, wrong = outputs([[0.9, 0.1, 0.0]], [0]), outputs([[0.9, 0.1, 0.0]], [1])
    assert pictures.mistakes(right, faces, NAMES) is None
    assert pictures.heat_maps(lab.model(), wrong, faces, NAMES) is None


def test_heat_maps_stand_beside_the_right_answers_of_each_class(
    lab: Lab, sheets: list[tuple[Tensor, list[str]]]
) -> None:
    pictures.heat_maps(lab.model(), SOME, faces, NAMES)
    ((shown, captions),) = sheets
    assert shown[::2, 0, 0, 0].tolist() == [13, 12]
    assert captions == ["happy 0.70", "", "sad 0.60", ""]


@pytest.mark.parametrize("normalized", [False, True])
def test_confusion_matrices_are_on_white(normalized: bool) -> None:
    picture = pictures.confusion(SOME, NAMES, normalized)
    assert picture.shape[2] == 3
    assert min(picture.shape[:2]) > 200
    assert (picture == 255).all(axis=2).mean() > 0.3
    assert (picture[[0, -1]] == 255).all()
