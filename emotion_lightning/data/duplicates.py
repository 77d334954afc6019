"""Copies of an image, found by thumbnails that survive re-encoding."""

import numpy as np
import numpy.typing as npt
from PIL import Image

THUMBNAIL = 32
"""Side of a thumbnail in pixels."""


def thumbnail(image: Image.Image) -> npt.NDArray[np.uint8]:
    """Squeeze the whole image, whatever its proportions, into a grey square with antialiasing.

    Returns:
        ``uint8`` of shape ``(THUMBNAIL, THUMBNAIL)``, values 0 to 255.
    """
    return np.asarray(image.convert("L").resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BILINEAR))
