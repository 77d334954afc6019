"""Fonts for the names of classes: those of the machine that have what the usual font lacks."""

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

logger = logging.getLogger(__name__)

USUAL = "DejaVu Sans"
"""Font that comes with matplotlib."""

EMPTY = "Last Resort"
"""Beginning of the name of a font that has a box for every character."""


@cache
def fonts_for(characters: frozenset[str]) -> Mapping[str, str]:
    """Return name and file of the usual font and of as few others as ``characters`` need; say which none has."""
    from matplotlib.font_manager import findfont, fontManager

    usual = findfont(USUAL)
    chosen: dict[str, str] = {USUAL: usual}
    missing = characters - _shown(usual, characters)
    upright = [font for font in fontManager.ttflist if font.style == "normal" and not font.name.startswith(EMPTY)]
    for font in sorted(upright, key=lambda font: (font.weight not in (400, "normal", "regular"), font.name)):
        if not missing:
            break
        if found := _shown(font.fname, missing):
            chosen[font.name] = font.fname
            missing -= found
    if missing:
        _say_once("".join(sorted(missing)))
    return chosen


@contextmanager
def without_boxes(figure: "Figure") -> Iterator[None]:
    """Give the texts of ``figure`` the fonts that they need, and draw without a warning for each that is not there."""
    from matplotlib.text import Text

    texts = [found for found in figure.findobj(Text) if isinstance(found, Text) and not found.get_text().isascii()]
    if texts:
        families = list(fonts_for(frozenset("".join(text.get_text() for text in texts)) - {"\n"}))
        for text in texts:
            text.set_fontfamily(families)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+")
        yield


@cache
def _say_once(missing: str) -> None:
    logger.warning("Charts: no font of this machine has %s: install one, such as Noto Sans of that script", missing)


def _shown(file: str, characters: frozenset[str]) -> frozenset[str]:
    """Characters that the font in ``file`` has; none where matplotlib cannot draw it, as one of colored pictures."""
    from matplotlib.font_manager import get_font

    try:
        font = get_font(file)
        font.set_size(8, 72)
    except (OSError, RuntimeError):
        return frozenset()
    return frozenset(character for character in characters if font.get_char_index(ord(character)))
