"""A short descriptor of a window of an image, by which images that may be copies are found.

It is the window's cosine transform of low frequency without the mean, so that brightness does not count, each
coefficient weighted by its frequency, because all faces share the lowest ones, and all of it scaled to length 1, so
that contrast does not count either. The windows' cosines end where the windows do: no window is ever resampled. A
mirror image differs by the sign of the coefficients that are odd in x alone.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

FREQUENCIES = 8

EVEN = FREQUENCIES**2 // 2
"""How many coefficients are even in x: the first half of a descriptor, which a mirror image shares."""

# Left, top and side in fractions of an image. The whole, and four windows that leave any window of 0.9 at most 0.025
# off: a copy that was cropped more or less than that is often near enough as well.
WINDOWS = ((0.0, 0.0, 1.0), *((left, top, 0.9) for left in (0.025, 0.075) for top in (0.025, 0.075)))

CHUNK = 4096  # images that are described at a time: as numbers of 4 bytes they take 16 MB


def describe(thumbnails: NDArray[np.uint8], places: NDArray[np.int64]) -> Tensor:
    """Describe each window of the N images at ``places``.

    Args:
        thumbnails: uint8 ``(M, T, T)``.
        places: Positions of images that are not flat ``(N,)``.

    Returns:
        float16 ``(windows, N, 2 * EVEN)``, of length 1, the window of all the image first.
    """
    found = torch.empty(len(WINDOWS), len(places), 2 * EVEN, dtype=torch.float16)
    for start in range(0, len(places), CHUNK):
        images = torch.from_numpy(thumbnails[places[start : start + CHUNK]]).float()
        images = F.layer_norm(images, images.shape[1:])
        for number, window in enumerate(WINDOWS):
            found[number, start : start + CHUNK] = _describe(images, window)
    return found


def _describe(images: Tensor, window: tuple[float, float, float]) -> Tensor:
    left, top, side = window
    down, across = _cosines(images.shape[1], top, side), _cosines(images.shape[2], left, side)
    frequency = torch.arange(FREQUENCIES, dtype=images.dtype)
    weight = (frequency[:, None] ** 2 + frequency**2).sqrt()
    coefficients = weight * (down @ images @ across.T)
    even, odd = coefficients[:, :, ::2].flatten(1), coefficients[:, :, 1::2].flatten(1)
    return F.normalize(torch.cat([even, odd], dim=1))


def _cosines(size: int, start: float, extent: float) -> Tensor:
    """Cosines over part of a side, averaged within each pixel, ``(FREQUENCIES, size)``."""
    fine = 16  # steps within a pixel, through which a window may end
    position = ((torch.arange(size * fine) + 0.5) / (size * fine) - start) / extent
    inside = (position >= 0) & (position <= 1)
    waves = torch.cos(math.pi * torch.arange(FREQUENCIES)[:, None] * position) * inside
    return waves.view(FREQUENCIES, size, fine).mean(dim=2)
