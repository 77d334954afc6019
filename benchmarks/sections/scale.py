"""How the search for copies grows with the number of images, of pictures that are made up.

Real faces are more alike than these, so that the search among them takes longer, but it grows in the same way.
"""

from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from benchmarks.clock import alternate, repeated
from benchmarks.figure import Figure
from benchmarks.setting import Setting
from emotion_lightning.data.audit.duplicates import find_pairs
from emotion_lightning.data.images.thumbnail import THUMBNAIL

SIZES = (8_000, 32_000)
"""Images among which copies are searched."""

COPIES = 50
"""Of how many images one is a copy, with noise of its own."""


def measure(setting: Setting) -> list[Figure]:
    """Search among few and many pictures, in alternation."""
    works = {
        f"copies among {size:,}": partial(
            repeated,
            partial(find_pairs, pictures(size, setting.seed), list(map(str, range(size))), progress=False),
            setting.least_seconds,
        )
        for size in SIZES
    }
    seconds = alternate(works, setting.rounds, "scale")
    return [Figure("scale", work, "ours", seconds[work], size) for work, size in zip(works, SIZES, strict=True)]


def pictures(count: int, seed: int) -> NDArray[np.uint8]:
    """Smooth random pictures, uint8 ``(count, THUMBNAIL, THUMBNAIL)``, of which the last are copies of the first."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(count, 1, 10, 10, generator=generator)
    smooth = F.interpolate(coarse, (THUMBNAIL, THUMBNAIL), mode="bicubic")[:, 0]
    copies = count // COPIES
    smooth[count - copies :] = smooth[:copies]
    noisy = 128 + 40 * smooth + 3 * torch.randn(smooth.shape, generator=generator)
    found: NDArray[np.uint8] = noisy.clamp(0, 255).byte().numpy()
    return found
