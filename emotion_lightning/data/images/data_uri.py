"""Pictures within a page."""

import base64
import io
from typing import Any

from PIL import Image


def data_uri(image: Image.Image, side: int, kind: str, **options: Any) -> str:
    """Make ``image`` no larger than ``side`` pixels, and encode it as text that an ``<img>`` takes as its source.

    Args:
        image: It is changed.
        side: Most pixels in width and height.
        kind: Pillow's name of the format, such as "PNG".
        options: How Pillow writes that format.
    """
    image.thumbnail((side, side))
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"
