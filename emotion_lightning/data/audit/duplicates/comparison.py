"""Candidates for copies: images of one block whose descriptors agree, each whole and cropped with the other whole.

One pair of matrix products, even plus or minus odd coefficients, compares two images both ways round.
"""

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from emotion_lightning.data.audit.duplicates.blocking import TABLES, tables
from emotion_lightning.data.audit.duplicates.descriptor import EVEN, WINDOWS, describe

# A face and a tenth less of it agree to 0.86 in 19 of 20 cases; so do, at the best of ten comparisons, 130 in a million
# pairs of different faces, which would cost nearly all the time.
AGREEMENT = 0.86

# Least agreement once what all faces have in common is taken away: 998 of 1,000 copies reach it, and 5 in 100 of the
# different faces that agree.
OWN_AGREEMENT = 0.72

USUAL = 1000  # images without anything in common that are reckoned with, so that few images are not taken for usual

ROWS = 512  # of a block at a time: what is compared stays in a processor's cache


class Candidates(NamedTuple):
    """Pairs that deserve a closer look, one position per pair in each tensor.

    Attributes:
        whole: Position of the image of which a window was compared.
        other: Position of the image that may be a copy of that window.
        window: Position of the window in ``WINDOWS``.
        flipped: Whether ``other`` looks like the mirrored window.
    """

    whole: Tensor
    other: Tensor
    window: Tensor
    flipped: Tensor


def candidates(thumbnails: NDArray[np.uint8], places: NDArray[np.int64], progress: bool) -> Candidates:
    """Compare the images of each block, both ways round, and return what may be copies, once for each way it agrees.

    Args:
        thumbnails: uint8 ``(M, T, T)``.
        places: Positions of the images to compare, none of them flat ``(N,)``.
        progress: Show a progress bar on stderr.
    """
    descriptors, images, place = describe(thumbnails, places), len(places), torch.from_numpy(places)
    usual, spread = _usual(descriptors[0])
    found = torch.empty(0, dtype=torch.int64)
    disable = None if progress else True  # None: unless it is a terminal
    bar = tqdm(tables(descriptors), "Comparing images", TABLES, unit=" rounds", disable=disable, delay=1)
    for blocks in bar:
        windows = descriptors.flatten(0, 1)
        found = torch.unique(torch.cat([found, *(_alike(windows, *block, usual, spread) for block in blocks)]))
    pair, flipped = found // 2, found % 2
    whole, other = pair // images, pair % images
    return Candidates(place[whole % images], place[other], whole // images, flipped.bool())


def _usual(descriptors: Tensor) -> tuple[Tensor, Tensor]:
    """What images have in common, and what to multiply with, so that the rest varies equally in all directions."""
    total, square = torch.zeros(2 * EVEN), torch.eye(2 * EVEN) * USUAL / (2 * EVEN)
    for part in torch.split(descriptors, 1 << 16):
        part = part.float()
        total, square = total + part.sum(dim=0), square + part.T @ part
    count = len(descriptors) + USUAL
    usual = total / count
    usual[EVEN:] = 0  # mirrored as often as not
    covariance = square / count - usual.outer(usual)
    covariance[:EVEN, EVEN:] = covariance[EVEN:, :EVEN] = 0
    variances, axes = torch.linalg.eigh(covariance)
    return usual, axes / variances.clamp(min=1e-6).sqrt()


def _alike(windows: Tensor, rows: Tensor, columns: Tensor, usual: Tensor, spread: Tensor) -> Tensor:
    """Find what agrees in a block.

    Returns:
        For each: the window's position times the number of images, plus the other image's, doubled, plus 1 if mirrored.
    """
    images, others, found = len(windows) // len(WINDOWS), windows[columns].float(), []
    for part in torch.split(rows, ROWS):
        mine = windows[part].float()
        agreement = (mine[:, EVEN:] @ others[:, EVEN:].T).abs_()  # of either side: even + |odd|
        agreement.addmm_(mine[:, :EVEN], others[:, :EVEN].T)
        # NumPy finds few among many several times faster than PyTorch
        row, column = map(torch.from_numpy, np.divmod(np.flatnonzero(agreement.numpy() > AGREEMENT), len(columns)))
        different = part[row] % images != columns[column]
        row, column = row[different], column[different]
        one, other = mine[row], others[column]
        flipped = (one[:, EVEN:] * other[:, EVEN:]).sum(dim=1) < 0
        one[flipped, EVEN:] *= -1
        own = F.cosine_similarity((one - usual) @ spread, (other - usual) @ spread) > OWN_AGREEMENT
        found.append(((part[row] * images + columns[column]) * 2 + flipped)[own])
    return torch.cat(found)
