"""What a terminal is sent: control characters, which a name or a file may hold, are shown and do nothing."""

import inspect
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from typing import Any

CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]|\r(?!\n)")
"""Those of ASCII and ISO 8859 but for tab and line end, and those of Unicode that turn the direction of writing."""

BARS = ("tqdm.", "rich.")
"""Packages that draw bars and tables, for which they move the cursor."""


def visible(text: str) -> str:
    r"""Write control characters as Python does, such as \x1b."""
    return CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


class Terminal:
    """A stream that shows control characters, unless a bar is drawn on it; all else is the stream's own."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write ``text``."""
        frame = inspect.currentframe()
        caller = "" if frame is None or frame.f_back is None else str(frame.f_back.f_globals.get("__name__"))
        written: int = self._stream.write(text if caller.startswith(BARS) else visible(text))
        return written

    def writelines(self, lines: Any) -> None:
        """Write each of ``lines``."""
        self._stream.writelines(map(visible, lines))

    def __getattr__(self, name: str) -> Any:
        """Give what the stream has."""
        return getattr(self._stream, name)


@contextmanager
def controls_shown() -> Iterator[None]:
    """Show control characters on standard error, and on standard output if it is a terminal; else it may be data.

    After an error that is no exit they still are, since Python has yet to print it.
    """
    before = sys.stdout, sys.stderr
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as Python does for stderr: no terminal can show everything
    if sys.stdout is not None and sys.stdout.isatty():
        sys.stdout = Terminal(sys.stdout)
    if sys.stderr is not None:
        sys.stderr = Terminal(sys.stderr)
    try:
        yield
    except SystemExit:
        sys.stdout, sys.stderr = before
        raise
    sys.stdout, sys.stderr = before
