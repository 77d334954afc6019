"""What a picture may be given as: a file, a PIL image, an array or a tensor of pixels."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from emotion_lightning.data.images.decode import open_image, upright_rgb
from emotion_lightning.errors import DataError

Picture = str | Path | Image.Image | np.ndarray[Any, Any] | Tensor


def as_picture(x: Picture) -> Image.Image:
    """Return a picture upright and in RGB, of the size that it has.

    A file is decoded in full, so that it, its PIL image and its pixels all get the same answer. Of an animation the
    first frame counts; what is transparent lies on black.

    Args:
        x: A path, a PIL image, uint8 pixels as an array ``(H, W, 3)`` RGB or ``(H, W)`` gray, or as a tensor
            ``(3, H, W)`` or ``(1, H, W)``.

    Raises:
        DataError: It is none of these, has no pixels or cannot be decoded; the message says which.
    """
    if isinstance(x, str | Path):
        if "://" in str(x):
            raise DataError(f"{x}: addresses are not fetched; download the picture and give its path")
        return open_image(Path(x if os.path.lexists(x) else os.path.expanduser(x)))  # a file's name may begin with ~
    if isinstance(x, Image.Image):
        return _upright(x)
    if isinstance(x, Tensor):
        return Image.fromarray(_pixels(x.detach().cpu().numpy(), "tensor", (3, 1))).convert("RGB")
    if isinstance(x, np.ndarray):
        return Image.fromarray(_pixels(x, "array")).convert("RGB")
    hint = "; open a file by PIL.Image.open" if hasattr(x, "read") else ""
    raise DataError(
        f"a {type(x).__name__} is no picture: give a path, a PIL image, or uint8 pixels as array or tensor{hint}"
    )


def is_picture(x: object) -> bool:
    """Say whether ``x`` stands for one picture, and not for several: an array of four dimensions is a batch.

    An open file does, though it can be walked through line by line.
    """
    if isinstance(x, np.ndarray | Tensor):
        return x.ndim != 4
    return isinstance(x, str | bytes | Path | Image.Image) or hasattr(x, "read")


def _upright(image: Image.Image) -> Image.Image:
    if 0 in image.size:
        raise DataError(f"the picture has no pixels: it is {image.width} x {image.height}")
    if image.mode == "I" and image.format is None:  # of a file, whose pixels have 16 bits, this is read as the file is
        raise DataError(
            "the picture's pixels are whole numbers of 32 bits, whose range is unknown: give them as uint8, from 0 to "
            "255, or with 16 bits, as mode I;16"
        )
    try:
        return upright_rgb(image)
    except Exception as error:  # damaged files make decoders raise nearly anything, and PIL reads them late
        raise DataError(f"the picture cannot be decoded: {error or type(error).__name__}") from error


def _pixels(x: np.ndarray[Any, Any], kind: str, channels_first: tuple[int, ...] = ()) -> np.ndarray[Any, Any]:
    """Return pixels as PIL takes them, ``(H, W, 3)`` or ``(H, W)``."""
    known = "(3, H, W) or (1, H, W)" if channels_first else "(H, W, 3) or (H, W)"
    given = f"{kind} {x.dtype} of shape {x.shape}"
    if x.dtype != np.uint8:
        hint = ", as (255 * x).round() of floats in [0, 1]" if x.dtype.kind == "f" else ""
        raise DataError(f"{given}: pixels are uint8, from 0 to 255{hint}, of shape {known}")
    if channels_first and x.ndim == 3 and x.shape[0] in channels_first:
        x = x[0] if x.shape[0] == 1 else x.transpose(1, 2, 0)
    elif channels_first or not (x.ndim == 2 or (x.ndim == 3 and x.shape[2] == 3)):
        raise DataError(f"{given}: pixels have the shape {known}")
    if 0 in x.shape:
        raise DataError(f"{given}: it has no pixels")
    return np.ascontiguousarray(x)
