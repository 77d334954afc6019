"""What 8 bits cost is counted image by image."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from emotion_lightning.batch import IMAGENET
from emotion_lightning.errors import UsageError
from emotion_lightning.export.about import About
from emotion_lightning.export.quantization import measure, write_quantized
from emotion_lightning.export.verification import Answer

PICTURES = [(Image.new("RGB", (8, 8), (number, 0, 0)), number % 2) for number in range(40)]


def wrong_on(numbers: set[int]) -> Answer:
    """Answer rightly, but for these pictures."""

    def answer(pictures: Sequence[Image.Image]) -> Tensor:
        shown = [int(picture.getpixel((0, 0))[0]) for picture in pictures]  # type: ignore[index]
        right = torch.tensor([(number % 2) ^ (number in numbers) for number in shown])
        return torch.nn.functional.one_hot(right, 2).float()

    return answer


def test_images_that_are_lost_and_won_are_told_apart() -> None:
    found = measure(wrong_on({1, 2}), wrong_on({2, *range(10, 18), 39}), PICTURES)
    assert (found["images"], found["lost"], found["won"]) == (40, 9, 1)
    assert (found["accuracy_before"], found["accuracy"]) == (38 / 40, 30 / 40)
    assert found["p"] == pytest.approx(2 * 11 / 2**10)  # of 10 throws of a coin at most 1 on one side
    assert min(found["per_second"], found["per_second_before"]) > 0


def test_what_cannot_be_quantized_is_said_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "core.onnx").write_bytes(b"no network")
    about = About(["a", "b"], 8, IMAGENET, 1.0, "none", None, "none", None)
    with pytest.raises(UsageError, match=r"onnxruntime cannot quantize this network: .*; export it without `quantize`"):
        write_quantized(tmp_path / "core.onnx", tmp_path / "small.onnx", about, [picture for picture, _ in PICTURES])
    assert [path.name for path in tmp_path.iterdir()] == ["core.onnx"]
