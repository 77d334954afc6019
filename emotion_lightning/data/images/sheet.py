"""A sheet of images with captions."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from emotion_lightning.runtime.fonts import fonts_for

Picture = NDArray[np.uint8]
"""RGB picture ``(height, width, 3)``."""

SIDE, LINE, GAP = 128, 20, 8
"""Side of an image, height of a line of its caption and space between images, in pixels."""


def contact_sheet(images: Tensor, captions: Sequence[str], columns: int = 4) -> Picture:
    """Put images in rows, each above its caption, on white.

    Args:
        images: RGB ``(N, 3, H, W)`` uint8, H = W and N at least 1; each is shown with 128 pixels a side.
        captions: Text of each image, of one or several lines.
        columns: Images in a row.
    """
    columns = min(columns, len(images))
    width, height = SIDE + GAP, SIDE + GAP + LINE * max(caption.count("\n") + 1 for caption in captions)
    sheet = Image.new("RGB", (columns * width + GAP, -(-len(images) // columns) * height + GAP), "white")
    pen, font = ImageDraw.Draw(sheet), _font("".join(captions))
    for number, (pixels, caption) in enumerate(zip(images.movedim(1, -1).cpu().numpy(), captions, strict=True)):
        x, y = GAP + number % columns * width, GAP + number // columns * height
        sheet.paste(Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BICUBIC), (x, y))
        pen.multiline_text((x, y + SIDE + 1), caption, fill="black", font=font, spacing=2)
    return np.asarray(sheet)


def titled(picture: Picture, title: str) -> Picture:
    """Write ``title`` above a picture, on white."""
    height, width, _ = picture.shape
    sheet = Image.new("RGB", (width, height + LINE + GAP), "white")
    ImageDraw.Draw(sheet).text((GAP, GAP // 2), title, fill="black", font=_font(title))
    sheet.paste(Image.fromarray(picture), (0, LINE + GAP))
    return np.asarray(sheet)


def _font(text: str) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font or, as it has Latin letters only, the last of those that ``text`` needs."""
    if text.isascii():
        return ImageFont.load_default(LINE - 4)
    return ImageFont.truetype(list(fonts_for(frozenset(text) - {"\n"}).values())[-1], LINE - 4)
