"""Whether what was exported answers as the checkpoint does: the same pictures to both, side by side."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from emotion_lightning.errors import DataError

Answer = Callable[[Sequence[Image.Image]], Tensor]
"""Turns RGB or gray pictures of any size into probabilities ``(N, classes)``."""

IMAGES = 500
"""Pictures that an export is verified on."""

BATCHES = (1, 7, 32)
"""Numbers of pictures that are given at once; the last is the greatest."""

WHOLE, CORE = 1e-3, 1e-5
"""Greatest difference of a probability, where the artifact resizes by itself and where it is given the same pixels."""


@dataclass
class Agreement:
    """How the answers of an artifact agree with the checkpoint's.

    Attributes:
        artifact: Name of its file.
        batch: Most pictures that were given at once; a file that takes them as they are gets those of one size.
        tolerance: Greatest difference of a probability that is accepted.
        images: Pictures compared.
        greatest_difference: Greatest difference of the probability of any class, infinite for one that is no number.
        different_answers: Pictures for which another class is the most probable.
        contradictions: Those of them for which the checkpoint's two best differ by more than the tolerance.
    """

    artifact: str
    batch: int
    tolerance: float
    images: int = 0
    greatest_difference: float = 0.0
    different_answers: int = 0
    contradictions: int = 0

    @property
    def holds(self) -> bool:
        """Whether the artifact may be given away."""
        return self.greatest_difference <= self.tolerance and not self.contradictions

    def add(self, expected: Tensor, found: Tensor) -> None:
        """Compare probabilities ``(N, classes)`` of the same pictures."""
        difference = (expected - found).abs().nan_to_num(nan=torch.inf).max().item()
        best = expected.topk(2, dim=1).values
        different = expected.argmax(dim=1) != found.argmax(dim=1)
        self.images += len(expected)
        self.greatest_difference = max(self.greatest_difference, difference)
        self.different_answers += int(different.sum())
        self.contradictions += int((different & (best[:, 0] - best[:, 1] > self.tolerance)).sum())


def verify(
    checkpoint: Answer, artifacts: Mapping[str, tuple[Answer, float]], pictures: Iterable[Image.Image]
) -> list[Agreement]:
    """Compare every artifact with the checkpoint on the same pictures, at each of the ``BATCHES``.

    Args:
        checkpoint: What is right.
        artifacts: Name of a file, and what it answers with which tolerance.
        pictures: Any number of pictures, each of which is in memory only while it is compared.

    Raises:
        DataError: The checkpoint gives no numbers for some picture, as it does once a training has diverged; or there
            are no pictures.
    """
    found = {
        (name, batch): Agreement(name, batch, tolerance)
        for name, (_, tolerance) in artifacts.items()
        for batch in BATCHES
    }
    for chunk in chunks(pictures, BATCHES[-1]):
        expected = checkpoint(chunk)
        if not expected.isfinite().all():
            raise DataError("the checkpoint gives no numbers for some pictures, as its training has diverged")
        for (name, batch), agreement in found.items():
            answer = artifacts[name][0]
            parts = [answer(chunk[start : start + batch]) for start in range(0, len(chunk), batch)]
            agreement.add(expected, torch.cat(parts))
    agreements = list(found.values())
    if not all(agreement.images for agreement in agreements):
        raise DataError("there is no picture to verify the export on")
    return agreements


def varied(pictures: Iterable[Image.Image], pixels: int) -> Iterator[Image.Image]:
    """Of every eight pictures, make one gray and enlarge another to more than so many ``pixels``."""
    for place, picture in enumerate(pictures):
        if place % 8 == 1:
            yield picture.convert("L")
        elif place % 8 == 5:
            width, height = picture.size
            times = math.isqrt(pixels // (width * height)) + 1
            yield picture.resize((times * width, times * height), Image.Resampling.BICUBIC)
        else:
            yield picture


def refuse_disagreement(agreements: Iterable[Agreement]) -> None:
    """Refuse an export that does not answer as the checkpoint does.

    Raises:
        DataError: The first artifact that does not, and by how much.
    """
    for found in agreements:
        if not found.holds:
            raise DataError(
                f"{found.artifact} does not answer as the checkpoint: at batches of {found.batch}, a probability "
                f"differs by {found.greatest_difference:.2g} (at most {found.tolerance:g} is accepted), and "
                f"{found.different_answers} of {found.images:,} answers differ; nothing was written"
            )


def chunks(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Cut ``items`` into lists of ``size``, of which the last may be shorter."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
