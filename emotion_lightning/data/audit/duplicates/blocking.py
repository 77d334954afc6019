"""Blocks of images that may be copies, by short codes, so that not all images need to be compared with all.

Each bit of a code says on which side of a hyperplane a descriptor lies (Charikar, 2002). A hyperplane is Fisher's
discriminant between two random images: it goes by what tells faces apart, and less by what a crop changes. It is put
where it halves the images that share the bits before (Dasgupta and Freund, 2008), so that blocks are of one size,
however many images there are. A copy lies in the block of its original more often than not; of many tables of random
codes, one nearly always has both in one block.
"""

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from emotion_lightning.data.audit.duplicates.descriptor import EVEN

BLOCK = 256
"""Most images in a block, about."""

TABLES = 24
"""How often all images are put into blocks by other codes."""

ALL_WITH_ALL = 4096
"""Images up to which there is one block of all."""

SAMPLE = 64
"""Images of a block by which it is halved."""

CROPPED = 4096
"""Images by which is found out what a crop changes."""

Block = tuple[Tensor, Tensor]
"""Windows, as positions in ``descriptors.flatten(0, 1)``, and images to compare them with."""


def tables(descriptors: Tensor) -> Iterator[Iterator[Block]]:
    """Yield the blocks of each table; every window of every image is in one block of each, a mirror image in its own.

    Args:
        descriptors: As from :func:`describe`, ``(windows, N, 2 * EVEN)``.
    """
    windows, images = descriptors.shape[:2]
    if images <= ALL_WITH_ALL:
        yield iter([(torch.arange(windows * images), torch.arange(images))])
        return
    bits, even = math.ceil(math.log2(images / BLOCK)), descriptors[:, :, :EVEN]
    generator = torch.Generator().manual_seed(0)
    steady = _inverse_of_change(even[:, torch.randperm(images, generator=generator)[:CROPPED]].float())
    for _ in range(TABLES):
        one, other = even[0, torch.randint(images, (2, bits), generator=generator)].float()
        directions = steady @ (one - other).T
        sample = torch.randperm(images, generator=generator)[: min(SAMPLE, images >> bits) << bits]
        medians = _medians((even[0, sample].float() @ directions).numpy())
        yield _blocks([_codes(part, directions, medians) for part in even], 1 << bits)


def _inverse_of_change(even: Tensor) -> Tensor:
    """Inverse of the covariance of what differs between an image's windows and all of it, never singular."""
    change = (even[1:] - even[0]).flatten(0, 1)
    covariance = change.T @ change / len(change)
    inverse: Tensor = torch.linalg.inv(covariance + 0.05 * covariance.diagonal().mean() * torch.eye(EVEN))
    return inverse


def _medians(values: np.ndarray) -> list[np.ndarray]:
    """Where to halve each block by each next bit: for every bit as many values as there are codes of the bits before.

    Args:
        values: Of a sample on each axis ``(n, bits)``; ``n`` is a multiple of 2 to the number of bits.
    """
    medians, blocks = [], np.arange(len(values))[None]
    for axis in values.T:
        half = blocks.shape[1] // 2
        order = np.argpartition(axis[blocks], half, axis=1)
        blocks = np.take_along_axis(blocks, order, axis=1)
        medians.append(axis[blocks[:, half]])
        blocks = blocks.reshape(2 * len(blocks), half)
    return medians


def _codes(even: Tensor, directions: Tensor, medians: list[np.ndarray]) -> np.ndarray:
    found = []
    for part in torch.split(even, 1 << 16):
        code = np.zeros(len(part), np.int64)
        for axis, median in zip((part.float() @ directions).numpy().T, medians, strict=True):
            code = 2 * code + (axis >= median[code])
        found.append(code)
    return np.concatenate(found)


def _blocks(codes: list[np.ndarray], count: int) -> Iterator[Block]:
    """Bring the windows and the images of each code together."""
    sides = []
    for found in (np.concatenate(codes), codes[0]):
        order, sizes = np.argsort(found, kind="stable"), np.bincount(found, minlength=count)
        sides.append(torch.split(torch.from_numpy(order), sizes.tolist()))
    return zip(*sides, strict=True)
