"""Names that the usual font cannot show: another font of the machine does, or it is said once."""

import logging
import warnings
from io import BytesIO

import numpy as np
import pytest
import torch
from matplotlib.font_manager import findfont, get_font
from PIL import Image

from emotion_lightning.data.images.sheet import contact_sheet
from emotion_lightning.report.charts import confusion_matrix
from emotion_lightning.report.svg import png, svg
from emotion_lightning.runtime.fonts import USUAL, fonts_for

NAMES = ["快乐", "سعيد", "😀🥲", "angry"]


@pytest.fixture
def rare() -> str:
    """A letter that a font of matplotlib has, and the usual one has not."""
    known, more = (get_font(findfont(name)).get_charmap() for name in (USUAL, "STIXGeneral"))
    return next(chr(code) for code in more if code >= 0x1D400 and code not in known)


def test_a_font_that_has_the_letter_is_used(rare: str) -> None:
    chart = confusion_matrix(torch.eye(2, dtype=torch.long), [rare, "angry"], normalized=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        png(chart)
    used = {label.get_text(): label.get_fontfamily() for label in chart.axes.get_yticklabels()}
    assert used[rare][0] == USUAL
    assert any(get_font(findfont(name)).get_char_index(ord(rare)) for name in used[rare])
    assert USUAL not in used["angry"] or len(used["angry"]) == 1


def test_a_caption_is_shown_in_a_font_that_has_it(rare: str) -> None:
    images = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    assert not np.array_equal(contact_sheet(images, [rare]), contact_sheet(images, ["\uffff"]))


def test_letters_that_no_font_has_are_said_once(caplog: pytest.LogCaptureFixture) -> None:
    fonts_for.cache_clear()
    with caplog.at_level(logging.WARNING), warnings.catch_warnings():
        warnings.simplefilter("error")
        for normalized in (False, True):
            names = [*NAMES[:3], "\U0010fffd" if normalized else "é\U0010fffd"]
            chart = confusion_matrix(torch.eye(4, dtype=torch.long), names, normalized)
            page = svg(chart, "confusion")
            assert all(name in page for name in NAMES[:3])  # a browser has fonts of its own
            assert Image.open(BytesIO(png(chart))).size[0] > 100
    assert len([line for line in caplog.messages if "\U0010fffd" in line and "install one" in line]) == 1


def test_the_usual_font_alone_serves_usual_names() -> None:
    assert list(fonts_for(frozenset("angry, fâché, злой"))) == [USUAL]
