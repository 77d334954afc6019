"""A user's mistakes: said in one line, with the exit status that the command line ends with.

A message names a parameter in back-quotes, alone or with a value to give it: "`image_size`", "`leaks=drop`". The
command line writes its own names in their place: "--data.image_size", "--data.leaks drop".
"""

from collections.abc import Iterable
from pathlib import Path


def on_one_line(name: str) -> str:
    """Write the line breaks that a file's name may have as Python does, so that a message stays one line."""
    return name.replace("\r", "\\r").replace("\n", "\\n")


class EmotionError(Exception):
    """Base of every error a user can mend; its text names the file, parameter or value and says what to do."""

    exit_status = 1
    of_all_ranks = False
    """Whether every process of a run raises it, so that one alone need say it."""


class DataError(EmotionError):
    """The data or a file is not as it should be (exit status 1)."""


class DivergenceError(EmotionError):
    """Training has come to numbers that are not finite, from which it cannot go on (exit status 1)."""

    of_all_ranks = True


class PeerError(EmotionError):
    """Another process of the run has ended by an error, whose exit status this one takes over."""

    of_all_ranks = True

    def __init__(self, message: str, exit_status: int = 1) -> None:
        super().__init__(message)
        self.exit_status = exit_status


class UsageError(EmotionError, ValueError):
    """A parameter or a combination of parameters cannot work (exit status 2)."""

    exit_status = 2


class RunIsOver(Exception):
    """A run that was to go on has ended and was measured; the text says how, and what trains longer. It is no error."""

    def __init__(self, message: str, folder: Path) -> None:
        super().__init__(message)
        self.folder = folder


def check_least(name: str, value: float, least: float) -> None:
    """Refuse a ``value`` of the parameter ``name`` that is below the ``least``.

    Raises:
        UsageError: It is below.
    """
    if value < least:
        raise UsageError(f"`{name}` {value} is too small; the least is {least}")


def check_choice(name: str, value: object, choices: Iterable[object]) -> None:
    """Refuse a ``value`` of the parameter ``name`` that is none of its ``choices``.

    Raises:
        UsageError: It is none of them.
    """
    known = list(choices)
    if value not in known:
        raise UsageError(f"`{name}` {value!r} is none of {', '.join(map(str, known))}")
