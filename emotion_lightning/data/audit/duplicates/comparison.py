"""Candidates for copies: every image, whole and cropped, against every other by a short descriptor.

The descriptor of a window of an image is its cosine transform of low frequency without the mean, so that brightness
does not count, each coefficient weighted by its frequency, because all faces share the lowest ones, and all of it
scaled to length 1, so that contrast does not count either. The windows' cosines end where the windows do: no window is
ever resampled. A mirror image differs by the sign of the coefficients that are odd in x alone, so that one pair of
matrix products, even plus or minus odd, compares two images both ways.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

FREQUENCIES = 8

# Left, top and side in fractions of an image. The whole, and four windows that leave any window of 0.9 at most 0.025
# off: a copy that was cropped more or less than that is often near enough as well.
WINDOWS = ((0.0, 0.0, 1.0), *((left, top, 0.9) for left in (0.025, 0.075) for top in (0.025, 0.075)))

# A face and a tenth less of it agree to 0.86 in 19 of 20 cases; so do, at the best of ten comparisons, 130 in a million
# pairs of different faces, which cost time only.
AGREEMENT = 0.86

ROWS, COLUMNS = 512, 2048  # of the comparisons at a time: 4 MB, which stay in a processor's cache
ENOUGH = 10  # candidates after which a block is yielded early, so that many similar images do not fill the memory


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


def candidates(thumbnails: Tensor, progress: bool) -> Iterator[Candidates]:
    """Compare all with all, both ways round, and yield what may be copies; a pair comes once for each way it agrees.

    Args:
        thumbnails: uint8 ``(N, T, T)``, none of them flat.
        progress: Show a progress bar on stderr.
    """
    whole = [_describe(block, WINDOWS[0]) for block in torch.split(thumbnails, ROWS)]
    even, odd = (torch.split(torch.cat(parts), COLUMNS) for parts in zip(*whole, strict=True))
    blocks = tqdm(torch.split(thumbnails, ROWS), "Comparing images", unit=" blocks", disable=not progress, delay=1)
    for top, block in enumerate(blocks):
        found: list[Candidates] = []
        for number, window in enumerate(WINDOWS):
            rows = _describe(block, window)
            for left, columns in enumerate(zip(even, odd, strict=True)):
                row, column, flipped = _alike(rows, columns)
                row, column = row + top * ROWS, column + left * COLUMNS
                found.append(Candidates(row, column, torch.full_like(row, number), flipped))
                if sum(len(part.whole) for part in found) > ENOUGH:
                    yield _joined(found)
                    found = []
        if found:
            yield _joined(found)


def _joined(found: Sequence[Candidates]) -> Candidates:
    """Put together, without the images compared with themselves."""
    joined = [torch.cat(parts) for parts in zip(*found, strict=True)]
    different = joined[0] != joined[1]
    return Candidates(*(part[different] for part in joined))


def _alike(rows: tuple[Tensor, Tensor], columns: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Row, column and whether mirrored, of all that agree."""
    agreement = (rows[1] @ columns[1].T).abs_().addmm_(rows[0], columns[0].T)  # of either side: even + |odd|
    # NumPy finds few among many several times faster than PyTorch
    row, column = np.divmod(np.flatnonzero(agreement.numpy() > AGREEMENT), agreement.shape[1])
    mirrored = (rows[1][row] * columns[1][column]).sum(dim=1) < 0
    return torch.from_numpy(row), torch.from_numpy(column), mirrored


def _describe(images: Tensor, window: tuple[float, float, float]) -> tuple[Tensor, Tensor]:
    """Coefficients that are even and odd in x of one window of every image, ``(N, 32)`` each."""
    images = F.layer_norm(images.float(), images.shape[1:])
    left, top, side = window
    down, across = _cosines(images.shape[1], top, side), _cosines(images.shape[2], left, side)
    frequency = torch.arange(FREQUENCIES, dtype=images.dtype)
    weight = (frequency[:, None] ** 2 + frequency**2).sqrt()
    coefficients = F.normalize((weight * (down @ images @ across.T)).flatten(1))
    coefficients = coefficients.view(len(images), FREQUENCIES, FREQUENCIES)
    return coefficients[:, :, ::2].flatten(1), coefficients[:, :, 1::2].flatten(1)


def _cosines(size: int, start: float, extent: float) -> Tensor:
    """Cosines over part of a side, averaged within each pixel, ``(FREQUENCIES, size)``."""
    fine = 16  # steps within a pixel, through which a window may end
    position = ((torch.arange(size * fine) + 0.5) / (size * fine) - start) / extent
    inside = (position >= 0) & (position <= 1)
    waves = torch.cos(math.pi * torch.arange(FREQUENCIES)[:, None] * position) * inside
    return waves.view(FREQUENCIES, size, fine).mean(dim=2)
