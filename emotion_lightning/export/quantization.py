"""A network of 8-bit numbers: how it is made, and what it costs."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from emotion_lightning.errors import EmotionError, UsageError
from emotion_lightning.evaluation.significance import mcnemar
from emotion_lightning.export.about import About
from emotion_lightning.export.answers import images
from emotion_lightning.export.verification import BATCHES, Answer, chunks

CALIBRATED, MEASURED = 500, 5000
"""Training images that the ranges of numbers are read off, and most validation images that the loss is measured on."""


@dataclass(frozen=True)
class Quantized:
    """The smaller network beside the whole one.

    Attributes:
        bytes: Size of its file.
        bytes_before: Size of the file that computes with 32-bit numbers.
        per_second: Pictures per second on this machine's CPU, at the greatest batch.
        per_second_before: The same before.
        images: Validation images that both were measured on.
        accuracy: Share of them that it gets right.
        accuracy_before: Share of them that was right before.
        lost: Images that were right and are wrong now.
        won: Images that were wrong and are right now.
        p: How likely so uneven a split of these is by chance (McNemar's exact test).
    """

    bytes: int
    bytes_before: int
    per_second: float
    per_second_before: float
    images: int
    accuracy: float
    accuracy_before: float
    lost: int
    won: int
    p: float


def write_quantized(core: Path, to: Path, about: About, pictures: Iterable[Image.Image]) -> None:
    """Write ``core.onnx`` with 8-bit weights and activations (QDQ), whose ranges are those on ``pictures``.

    Raises:
        UsageError: onnxruntime cannot quantize this network.
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
        def __init__(self) -> None:
            self.batches = _inputs(pictures, about)

        def get_next(self) -> dict[str, Any] | None:
            return next(self.batches, None)

    prepared = to.with_suffix(".prepared")
    level = logging.root.level
    try:
        logging.root.setLevel(logging.ERROR)
        quant_pre_process(core, prepared, skip_symbolic_shape=True)
        quantize_static(
            *(prepared, to, Reader()),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
    except EmotionError:
        raise
    except Exception as error:  # onnxruntime has no error of its own for it
        reason = next(filter(None, str(error).splitlines()), type(error).__name__)
        raise UsageError(f"onnxruntime cannot quantize this network: {reason}; export it without `quantize`") from error
    finally:
        logging.root.setLevel(level)
        prepared.unlink(missing_ok=True)


def measure(before: Answer, after: Answer, pictures: Iterable[tuple[Image.Image, int]]) -> dict[str, Any]:
    """Compare two networks on labelled pictures; return what :class:`Quantized` holds besides the sizes."""
    answers: tuple[list[Tensor], list[Tensor]] = ([], [])
    seconds, labels = [0.0, 0.0], list[int]()
    for chunk in chunks(pictures, BATCHES[-1]):
        labels += [label for _, label in chunk]
        for place, answer in enumerate((before, after)):
            started = perf_counter()
            answers[place].append(answer([picture for picture, _ in chunk]).argmax(dim=1))
            seconds[place] += perf_counter() - started
    truth = torch.tensor(labels)
    was_right, is_right = (torch.cat(found) == truth for found in answers)
    test = mcnemar(is_right, was_right)
    return {
        "per_second": len(labels) / seconds[1],
        "per_second_before": len(labels) / seconds[0],
        "images": len(labels),
        "accuracy": is_right.double().mean().item(),
        "accuracy_before": was_right.double().mean().item(),
        "lost": test.theirs,
        "won": test.ours,
        "p": test.p,
    }


def _inputs(pictures: Iterable[Image.Image], about: About) -> Iterator[dict[str, Any]]:
    for chunk in chunks(pictures, BATCHES[-1]):
        yield {"images": images(chunk, about).numpy()}
