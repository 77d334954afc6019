"""A small gray picture of an image, by which near copies are found."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

THUMBNAIL = 32
"""Side of a thumbnail in pixels."""


def thumbnail(image: Image.Image, box: tuple[float, float, float, float] | None = None) -> NDArray[np.uint8]:
    """Squeeze an image, or the ``box`` in it, to a gray square, uint8 ``(THUMBNAIL, THUMBNAIL)``, with antialiasing."""
    return np.asarray(image.convert("L").resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BILINEAR, box))
