"""YAML that may come from strangers: read from local files only, and within limits on what it can cost."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from emotion_lightning.errors import DataError

MAX_BYTES = 1_000_000
"""Largest text in bytes; a run's own options take 5,000."""

MAX_DEPTH = 50
"""Most lists and mappings within one another."""

MAX_VALUES = 2_000
"""Most values, with those that aliases repeat: ten lines of aliases of aliases can stand for billions.

The parser of options takes 3 s for as many, and a time that grows with their square.
"""

MAX_LETTERS = 10_000
"""Longest single value: 1:1:1:... is a number in base 60, whose time grows with the square of its length."""

LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class TooMuch(yaml.YAMLError):
    """The text exceeds a limit."""


def read_yaml(path: Path | str) -> Any:
    """Read a local file; raises as :func:`load_yaml` does.

    Raises:
        DataError: It is no regular file, or no text.
    """
    if "://" in str(path):
        raise DataError(f"{path}: addresses are not fetched; download the file and give its path")
    if os.path.exists(path) and not os.path.isfile(path):
        raise DataError(f"{path} is no regular file, and a pipe would be waited for: give the path of a file")
    try:
        with open(path, "rb") as stream:
            content = stream.read(MAX_BYTES + 1)
        return load_yaml(content.decode("utf-8-sig"), path)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def read_mapping(path: Path) -> dict[str, Any]:
    """Read a local file that maps names to values, or is empty; raises as :func:`read_yaml` does, and otherwise.

    Raises:
        DataError: It holds a list or a single value.
    """
    return _as_mapping(read_yaml(path), path)


def load_yaml(text: str, where: Path | str) -> Any:
    """Load a text into values of Python, of safe types alone.

    Raises:
        DataError: It is not YAML, or exceeds a limit; the message begins with ``where``.
    """
    try:
        check_limits(text)
        return yaml.load(text, LOADER)
    except Exception as error:  # a tag before a value of another kind makes the loader raise nearly anything
        raise DataError(f"{where} cannot be read as YAML: {' '.join(str(error).split())}") from error


def load_mapping(text: str, where: Path | str) -> dict[str, Any]:
    """Load a text that maps names to values; an empty one maps none. Raises as :func:`load_yaml` does, and otherwise.

    Raises:
        DataError: It is a list or a single value.
    """
    return _as_mapping(load_yaml(text, where), where)


def _as_mapping(found: Any, where: Path | str) -> dict[str, Any]:
    if found is not None and not isinstance(found, dict):
        raise DataError(f"{where} maps no names to values, as a configuration does")
    return found or {}


def check_limits(text: str) -> None:
    """Refuse a text that would take more than the limits; it is read as a stream, so that nothing grows.

    Raises:
        TooMuch: It would.
        yaml.YAMLError: It is not YAML.
    """
    if len(text) > MAX_BYTES or len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise TooMuch(f"it has more than the {MAX_BYTES:,} bytes allowed")
    for values, depth, letters in _sizes(text):
        for found, limit, what in (
            (values, MAX_VALUES, "values, those that aliases repeat included,"),
            (depth, MAX_DEPTH, "levels of lists and mappings"),
            (letters, MAX_LETTERS, "letters in one value"),
        ):
            if found > limit:
                raise TooMuch(f"it has more than the {limit:,} {what} allowed")


def _sizes(text: str) -> Iterator[tuple[int, int, int]]:
    """Yield how many values there are so far, how deep this one is, and its letters."""
    repeated, values, within = dict[str | None, int](), 0, list[tuple[str | None, int]]()
    for event in yaml.parse(text, LOADER):
        if isinstance(event, yaml.CollectionEndEvent):
            anchor, before = within.pop()
            if anchor is not None:
                repeated[anchor] = values - before
        elif isinstance(event, yaml.AliasEvent):
            values += repeated.get(event.anchor, 1)
        elif isinstance(event, yaml.NodeEvent):
            values += 1
            collection = isinstance(event, yaml.CollectionStartEvent)
            if event.anchor is not None:  # an alias to a list within it would repeat it without end
                repeated[event.anchor] = MAX_VALUES if collection else 1
            if collection:
                within.append((event.anchor, values - 1))
        yield values, len(within), len(getattr(event, "value", ""))
