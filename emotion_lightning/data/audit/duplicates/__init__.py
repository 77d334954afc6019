"""Near-duplicates: which images of a data set are copies of one another, by small gray pictures of all of them.

A copy may be encoded again, resized, mirrored, brighter or darker, slightly cropped, or several of these. Candidates
come from comparing all with all; each is then registered at the thumbnails' resolution, and what still differs decides.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from emotion_lightning.data.audit.duplicates.comparison import WINDOWS, Candidates, candidates
from emotion_lightning.data.audit.duplicates.registration import register

SIMILARITY = 0.9
"""Least similarity of a pair: hardly any different photographs of faces reach it, and nearly all copies do."""

FLAT = 3.0
"""Least standard deviation, in gray levels of 255, of an image that can be told from others by how it looks."""

CROPPED = 0.025
"""Least share of a side that a copy lacks, or has too much, to be called cropped."""

Kind = Literal["exact", "near", "flipped", "cropped"]

BATCH = 256  # pairs registered at a time: more would fall out of a processor's cache


class Pair(NamedTuple):
    """Two images that are copies.

    Attributes:
        first: Position of one of them.
        second: Position of the other, ``first < second``.
        similarity: Correlation of their detail after registration, in [``SIMILARITY``, 1]; 1 for exact copies.
        kind: What differs: nothing ("exact": equal digests); the side, whatever else ("flipped"); the
            part of the picture that is shown ("cropped"); or neither, as after compression ("near").
    """

    first: int
    second: int
    similarity: float
    kind: Kind


def find_pairs(thumbnails: NDArray[np.uint8], digests: Sequence[str], progress: bool = True) -> list[Pair]:
    """Find the copies among images.

    Exact copies are a chain, each paired with the next, and only the first of them is compared with other images:
    :func:`connected_components` makes groups of the pairs. Images without contrast, such as black ones, are paired only
    with exact copies. The time grows with the square of the number of images; the memory with the number itself, and
    with that of the pairs found. Their order matters only for which of several exact copies stands in a pair.

    Args:
        thumbnails: uint8 ``(N, T, T)``, each from :func:`thumbnail`.
        digests: What identifies the content of each image, such as a hash of its pixels.
        progress: Show a progress bar on stderr.

    Returns:
        The pairs, most alike first, none of them twice.

    Raises:
        ValueError: There are not as many digests as thumbnails.
    """
    if len(thumbnails) != len(digests):
        raise ValueError(f"{len(thumbnails)} thumbnails but {len(digests)} digests")
    exact = list(_chain(digests))
    copies = {pair.second for pair in exact}
    places = [place for place in np.flatnonzero(_contrast(thumbnails) >= FLAT).tolist() if place not in copies]
    near = _near_pairs(torch.from_numpy(thumbnails[places]), progress)
    pairs = exact + [pair._replace(first=places[pair.first], second=places[pair.second]) for pair in near]
    return sorted(pairs, key=lambda pair: (-pair.similarity, pair.first, pair.second))


def _chain(digests: Sequence[str]) -> Iterator[Pair]:
    latest: dict[str, int] = {}
    for place, digest in enumerate(digests):
        if digest in latest:
            yield Pair(latest[digest], place, 1.0, "exact")
        latest[digest] = place


def _contrast(thumbnails: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Standard deviation of each image, some at a time, because it takes them as numbers of 8 bytes."""
    blocks = (thumbnails[start : start + 4096] for start in range(0, len(thumbnails), 4096))
    return np.concatenate([np.empty(0), *(block.std(axis=(1, 2)) for block in blocks)])


def _near_pairs(thumbnails: Tensor, progress: bool) -> Iterable[Pair]:
    best: dict[tuple[int, int], Pair] = {}
    for found in candidates(thumbnails, progress) if len(thumbnails) > 1 else ():
        for start in range(0, len(found.whole), BATCH):
            for pair in _verified(thumbnails, Candidates(*(part[start : start + BATCH] for part in found))):
                key = pair.first, pair.second
                if key not in best or best[key].similarity < pair.similarity:
                    best[key] = pair
    return best.values()


def _verified(thumbnails: Tensor, found: Candidates) -> Iterator[Pair]:
    """Register candidates, and yield those that are copies."""
    whole, other = (F.layer_norm(thumbnails[at].float(), thumbnails.shape[1:]) for at in (found.whole, found.other))
    other = torch.where(found.flipped[:, None, None], other.flip(2), other)
    left, top, side = torch.tensor(WINDOWS)[found.window].unbind(dim=1)
    start = torch.stack([side, 2 * left + side - 1, side, 2 * top + side - 1], dim=1)
    similarity, frame = register(whole, other, start)
    scale, shift = frame[:, ::2], frame[:, 1::2]
    cropped = ((1 - scale).abs() + shift.abs()).amax(dim=1) / 2 > CROPPED  # the edge that is farthest off
    for index in (similarity >= SIMILARITY).nonzero().flatten().tolist():
        first, second = sorted((int(found.whole[index]), int(found.other[index])))
        kind: Kind = "flipped" if found.flipped[index] else "cropped" if cropped[index] else "near"
        yield Pair(first, second, min(1.0, round(float(similarity[index]), 4)), kind)
