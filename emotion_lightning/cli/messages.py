"""The words of the command line: options in place of parameters, and one line of what a library says."""

import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager

from emotion_lightning.errors import EmotionError
from emotion_lightning.options import option_named

PARAMETER = re.compile(r"`([\w.]+)(?:=([^`]*))?`")
QUOTED = re.compile(r"""\A(['"])([^'"]*)\1\Z""")
"""A value as Python writes it, which Lightning does in its messages."""


def with_dashes(message: str) -> str:
    """Write options, as a shell takes them, in place of the parameters that a message names in back-quotes."""

    def option(found: re.Match[str]) -> str:
        name, value = option_named(found[1]), found[2]
        if name is None:
            return found[0]
        if value is None:
            return f"--{name}"
        unquoted = QUOTED.sub(r"\2", value)
        return f"--{name} {shlex.quote(unquoted)}"

    return PARAMETER.sub(option, message)


@contextmanager
def own_options(*names: str) -> Iterator[None]:
    """Name options of a command itself in an error, where the same parameter is that of a run in others."""
    try:
        yield
    except EmotionError as error:
        error.args = (re.sub(rf"`({'|'.join(names)})`", r"--\1", str(error)),)
        raise


def reason(error: Exception) -> str:
    """Give one line of what a library says, without the parser's account of where."""
    found = re.search(r"Problem with given class_path '[\w.]*?(\w+)':\s*(.+)", str(error))
    if found:
        return f"{found[1]}: {found[2]}"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
