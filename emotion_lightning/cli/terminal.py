"""What is sent to a terminal or to who reads: controls, which a name may hold, are shown; a reader may leave."""

import errno
import inspect
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from io import TextIOWrapper
from types import FrameType
from typing import Any

from emotion_lightning.runtime.plain import is_plain

CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]|\r(?!\n)")
"""Those of ASCII and ISO 8859 but for tab and line end, and those of Unicode that turn the direction of writing."""

BARS = ("tqdm.", "rich.")
"""Packages that draw bars and tables, for which they move the cursor."""


def visible(text: str) -> str:
    r"""Write control characters as Python does, such as \x1b."""
    return CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


class Terminal:
    """A stream that shows control characters, and writes whole lines above a bar; what draws the bar writes as it is.

    It is no terminal to those who ask where the user wants none of what moves the cursor.
    """

    def __init__(self, stream: Any) -> None:
        self._stream, self._line = stream, ""

    def write(self, text: str) -> int:
        """Write the lines that are complete; the rest follows with its end, or when it is flushed."""
        if _called_by_bar(inspect.currentframe()):
            self._stream.write(text)
            return len(text)
        lines, end, self._line = (self._line + text).rpartition("\n")
        if end:
            self._show(lines + end)
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write each of ``lines``."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Write what there is."""
        if self._line and not _called_by_bar(inspect.currentframe()):
            text, self._line = self._line, ""
            self._show(text)
        self._stream.flush()

    def isatty(self) -> bool:
        """Say whether bars can be drawn."""
        return not is_plain() and bool(self._stream.isatty())

    def _show(self, text: str) -> None:
        bars = sys.modules.get("tqdm")  # slow to import, and without it there are none
        with bars.tqdm.external_write_mode(self) if bars else nullcontext():
            self._stream.write(visible(text))

    def __getattr__(self, name: str) -> Any:
        """Give what the stream has."""
        return getattr(self._stream, name)


class Lasting:
    """A stream whose reader may leave while who writes goes on, as a training of days does."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write ``text``, nowhere once the reader has left."""
        with self._outlived():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Write what there is."""
        with self._outlived():
            self._stream.flush()

    @contextmanager
    def _outlived(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.EIO):  # of a pipe, and of a terminal that was closed
                raise
            _send_nowhere(self._stream)

    def __getattr__(self, name: str) -> Any:
        """Give what the stream has."""
        return getattr(self._stream, name)


@contextmanager
def ended_by_reader() -> Iterator[None]:
    """End with the status of SIGPIPE once whoever reads standard output, such as head, has enough."""
    try:
        yield
        print(end="", flush=True)
    except BrokenPipeError:
        _send_nowhere(sys.stdout)
        sys.exit(128 + 13)


def _send_nowhere(stream: Any) -> None:
    """Let what a stream still holds and is given go nowhere, as Python would complain of it when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _called_by_bar(frame: FrameType | None) -> bool:
    caller = "" if frame is None or frame.f_back is None else str(frame.f_back.f_globals.get("__name__"))
    return caller.startswith(BARS)


@contextmanager
def controls_shown() -> Iterator[None]:
    """Show control characters on standard error, and on standard output if it is a terminal; else it may be data.

    After an error that is no exit they still are, since Python has yet to print it.
    """
    before = sys.stdout, sys.stderr
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as Python does for stderr: no terminal can show everything
    if sys.stdout is not None and sys.stdout.isatty():
        sys.stdout = Terminal(Lasting(sys.stdout))
    if sys.stderr is not None:
        sys.stderr = Terminal(Lasting(sys.stderr))
    streams = sys.stdout, sys.stderr
    try:
        yield
    except SystemExit:
        _end(streams, before)
        raise
    _end(streams, before)


def _end(streams: tuple[Any, Any], before: tuple[Any, Any]) -> None:
    """Put the streams of ``before`` back."""
    for stream in streams:
        if isinstance(stream, Terminal):
            stream.flush()
    sys.stdout, sys.stderr = before
