"""Near-duplicates: which images of a data set are copies of one another, by small gray pictures of all of them.

A copy may be encoded again, resized, mirrored, brighter or darker, slightly cropped, or several of these. Candidates
come from comparing the images of a block, in which copies fall together by short codes; each is then registered at the
thumbnails' resolution, and what still differs decides.
"""

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from tqdm import tqdm

from emotion_lightning.data.audit.duplicates.comparison import Candidates, candidates
from emotion_lightning.data.audit.duplicates.descriptor import WINDOWS
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
    with exact copies. Time and memory grow with the number of images, and with that of the pairs found. Of more than
    ``blocking.ALL_WITH_ALL`` images, a few pairs in a thousand are missed; which ones depends on the order.

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
    places = np.setdiff1d(np.flatnonzero(_contrast(thumbnails) >= FLAT), [pair.second for pair in exact])
    pairs = exact + (_near_pairs(thumbnails, places, progress) if len(places) > 1 else [])
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


def _near_pairs(thumbnails: NDArray[np.uint8], places: NDArray[np.int64], progress: bool) -> list[Pair]:
    """Find the copies among the images at ``places``, none of which is flat."""
    best: dict[tuple[int, int], Pair] = {}
    found = candidates(thumbnails, places, progress)
    batches = range(0, len(found.whole), BATCH)
    for start in tqdm(batches, "Comparing copies", unit=" batches", disable=None if progress else True, delay=1):
        for pair in _verified(thumbnails, Candidates(*(part[start : start + BATCH] for part in found))):
            key = pair.first, pair.second
            if key not in best or best[key].similarity < pair.similarity:
                best[key] = pair
    return list(best.values())


def _verified(thumbnails: NDArray[np.uint8], found: Candidates) -> Iterator[Pair]:
    """Register candidates, and yield those that are copies."""
    pictures = (torch.from_numpy(thumbnails[at.numpy()]).float() for at in (found.whole, found.other))
    whole, other = (F.layer_norm(images, images.shape[1:]) for images in pictures)
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
