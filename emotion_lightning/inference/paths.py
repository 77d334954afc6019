"""Which pictures a command is given: files, folders, patterns, tables of paths, and a list on standard input."""

import os
from collections.abc import Iterator, Sequence
from glob import glob
from pathlib import Path
from typing import BinaryIO

from emotion_lightning.data.images.decode import UnreadableImage
from emotion_lightning.data.images.region import file_of
from emotion_lightning.data.sources.folder import find_images, real_files, unread_files, unread_message
from emotion_lightning.data.sources.layouts.tables import FILE_COLUMNS, SUFFIXES, csv_rows, header_of
from emotion_lightning.errors import DataError

LIST = "-"
"""What stands for a list of paths on standard input."""


def named_pictures(given: Sequence[str], notes: list[str]) -> list[str | UnreadableImage]:
    """Return the paths of the pictures that ``given`` names, in its order; those of a folder in the order of theirs.

    What names nothing stays in the list, where several are given, as one that cannot be read; so does a line of a table
    that is too short to have a path.

    Args:
        given: Files, folders, which are searched with all below them, patterns such as ``faces/*.jpg``, and tables with
            a column of paths, which start from the folder of the table.
        notes: Takes what is to be said of files that are not read.

    Raises:
        DataError: The only one names nothing, or a table has no column of paths.
    """
    names, found = [match for name in given for match in _matches(name)], list[str | UnreadableImage]()
    for name in names:
        try:
            found += _pictures(name, notes)
        except Nothing:
            if len(names) == 1:
                raise
            found.append(name)
    return found


def listed_pictures(stream: BinaryIO) -> Iterator[str]:
    """Yield the paths in a list, one a line, as they come."""
    for line in stream:
        if name := os.fsdecode(line.rstrip(b"\r\n")):
            yield name


class Nothing(DataError):
    """What a name leads to holds no picture, or there is nothing."""


def _matches(name: str) -> list[str]:
    """Return what a pattern matches; a name that something has, or that matches nothing, stays as it is."""
    name = os.path.expanduser(name)
    return [name] if os.path.lexists(name) else sorted(glob(name, recursive=True)) or [name]


def _pictures(name: str, notes: list[str]) -> Sequence[str | UnreadableImage]:
    path = Path(name)
    if path.is_dir():
        return _in_folder(path, notes)
    if not file_of(path).is_file():
        hint = "; addresses are not fetched" if "://" in name else ""
        raise Nothing(f"{name}: no such file or folder, and no pattern that any matches{hint}")
    return _in_table(path, notes) if path.suffix.lower() in SUFFIXES else [name]


def _in_folder(folder: Path, notes: list[str]) -> list[str]:
    try:
        paths = find_images(folder).paths
    except DataError as error:
        raise Nothing(str(error)) from error
    if unread := unread_message(unread_files(folder, real_files(paths))):
        notes.append(f"{folder}: {unread}")
    return list(map(os.fspath, paths))


def _in_table(file: Path, notes: list[str]) -> list[str | UnreadableImage]:
    column = next((name for name in FILE_COLUMNS if name in header_of(file)), None)
    if column is None:
        raise DataError(f"{file}: its first line names no column of paths; call one path, filepath, image or file")
    found, without = list[str | UnreadableImage](), 0
    for line, values in csv_rows(file, column, short=True):
        if not values:
            found.append(UnreadableImage(f"{file} line {line}", f"the line is too short to have a {column}"))
        elif values[0]:
            found.append(os.fspath(file.parent / values[0]))
        else:  # as a photograph without a face has it in the manifest of prepare
            without += 1
    if without:
        notes.append(f"{file}: {without:,} line{'s' * (without != 1)} without a {column} left out")
    return found
