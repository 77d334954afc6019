from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from emotion_lightning.evaluation.outputs import EvalOutputs
from emotion_lightning.report import pictures
from emotion_lightning.report.pictures import GAP, LINE, SIDE, contact_sheet
from tests.helpers import Lab

NAMES = ["angry", "happy", "sad"]


@pytest.fixture
def sheets(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Tensor, list[str]]]:
    """Images and captions of each sheet made."""
    made = []

    def noted(images: Tensor, captions: list[str], **options: Any) -> Any:
        made.append((images, captions))
        return contact_sheet(images, captions, **options)

    monkeypatch.setattr(pictures, "contact_sheet", noted)
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


def test_images_stand_in_rows_each_above_its_caption() -> None:
    colors = torch.tensor([[255, 0, 0], [0, 255, 0], [0, 0, 255]], dtype=torch.uint8)
    sheet = contact_sheet(colors[:, :, None, None].expand(3, 3, 20, 20), ["red", "green\nor so", ""], columns=2)
    height, width = SIDE + GAP + 2 * LINE, SIDE + GAP
    assert sheet.shape == (2 * height + GAP, 2 * width + GAP, 3)
    for place, (row, column) in enumerate([(0, 0), (0, 1), (1, 0)]):
        top, left = GAP + row * height, GAP + column * width
        assert (sheet[top : top + SIDE, left : left + SIDE] == colors[place].numpy()).all()
        caption = sheet[top + SIDE : top + SIDE + 2 * LINE, left : left + SIDE]
        assert (caption < 128).any() == (place < 2)
    assert (sheet[height + GAP :, width + GAP :] == 255).all()
