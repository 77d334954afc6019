"""A part of an image file, named after it as W3C's Media Fragments do: "x.jpg#xywh=40,10,96,96"."""

import os
import re
from pathlib import Path
from typing import NamedTuple

_MARK = "#xywh="
_NUMBER = r"(\d+(?:\.\d+)?)"
_REGION = re.compile(rf"(percent:)?{_NUMBER},{_NUMBER},{_NUMBER},{_NUMBER}")


class Region(NamedTuple):
    """A rectangle of the upright image, in pixels or, where ``percent``, in hundredths of its sides."""

    percent: bool
    left: float
    top: float
    width: float
    height: float

    def box(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Left, top, right and bottom in whole pixels of an image of this size, as far as they lie in it.

        Raises:
            ValueError: No pixel of the image lies in the rectangle.
        """
        across, down = (width / 100, height / 100) if self.percent else (1.0, 1.0)
        left, top = round(self.left * across), round(self.top * down)
        right = min(max(round((self.left + self.width) * across), left + 1), width)
        bottom = min(max(round((self.top + self.height) * down), top + 1), height)
        if right <= left or bottom <= top or not self.width or not self.height:
            raise ValueError(f"its part {_values(self)} lies outside of {width} x {height} pixels, or is empty")
        return left, top, right, bottom


def with_region(name: str, region: Region) -> str:
    """Name the part ``region`` of the image ``name``."""
    return f"{name}{_MARK}{_values(region)}"


def split_region(path: Path) -> tuple[Path, Region | None]:
    """Return the file of an image, and which part of it the image is; None for all of it."""
    text, mark, values = os.fspath(path).rpartition(_MARK)
    if not mark or not (found := _REGION.fullmatch(values)):
        return path, None
    return Path(text), Region(found[1] is not None, *map(float, found.groups()[1:]))


def file_of(path: Path) -> Path:
    """Return the file of an image, of which the image may be a part."""
    return split_region(path)[0]


def file_name(name: str) -> str:
    """Return the name of an image's file, as :func:`file_of` does of paths, which are slow to make by the million."""
    return os.fspath(file_of(Path(name))) if _MARK in name else name


def _values(region: Region) -> str:
    return "percent:" * region.percent + ",".join(f"{value:.4f}".rstrip("0").rstrip(".") for value in region[1:])
