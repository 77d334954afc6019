"""What a layout holds, and the ways in which its readers look at folders and names."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from emotion_lightning.data.images import IMAGE_SUFFIXES, Files, PixelRows
from emotion_lightning.data.labels import class_ids
from emotion_lightning.data.splits import Split
from emotion_lightning.errors import DataError

SPLIT_FOLDERS: dict[str, Split] = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}


class Row(NamedTuple):
    """One image as a layout names it: below ROOT, its class as spelled there, its split where one is given."""

    name: str
    emotion: str
    split: Split | None


@dataclass(frozen=True)
class Listing:
    """What a layout holds, before classes are numbered and missing splits cut."""

    layout: str
    root: Path
    class_names: tuple[str, ...]
    rows: list[Row]
    source: Files | PixelRows


def visible_folders(folder: Path) -> list[Path]:
    """Return the folders in ``folder`` by name, without hidden ones and what macOS puts into archives."""
    folders = [path for path in folder.iterdir() if path.is_dir() and not is_hidden(path.name)]
    return sorted(folders, key=lambda path: (path.name.casefold(), path.name))


def is_hidden(name: str) -> bool:
    """Say whether a file or folder is none of the data."""
    return name.startswith(".") or name == "__MACOSX"


def is_image(name: str) -> bool:
    """Say whether a file is an image by its suffix."""
    return not is_hidden(name) and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def images_below(folder: Path, root: Path) -> list[Path]:
    """Return every image below ``folder``, however deep, in the order of their paths.

    Raises:
        DataError: A folder cannot be listed, or a link leads out of ``root``: data from elsewhere must not name the
            files of whoever unpacks it.
    """
    found = []
    home = Path(os.path.realpath(root))
    for parent, folders, files in os.walk(folder, onerror=_cannot_list):
        folders[:] = [name for name in folders if not is_hidden(name)]
        images = [Path(parent, name) for name in files if is_image(name)]
        for path in images:
            if os.path.islink(path):
                _check_inside(path, home)
        if images:
            _check_inside(Path(parent), home)
        found += images
    return sorted(found)


def _check_inside(path: Path, home: Path) -> None:
    target = Path(os.path.realpath(path))
    if not target.is_relative_to(home):
        raise DataError(
            f"{path} leads to {target}, outside {home}: copy it there, or name the images in a CSV file (train.csv)"
        )


def _cannot_list(error: OSError) -> None:
    raise DataError(f"{error.filename} cannot be listed: {error.strerror}") from error


def files_of(root: Path, rows: Iterable[Row]) -> Files:
    """Return what reads the image of each of ``rows``."""
    return Files(tuple(root / row.name for row in rows))


def name_below(path: Path, root: Path) -> str:
    """Return the path below ``root`` with forward slashes, or the whole path of a file that is elsewhere."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def spelled_once(names: Iterable[str], where: Path) -> tuple[str, ...]:
    """Sort the different names, of which no two may mean the same class."""
    different = tuple(sorted(set(names), key=lambda name: (name.casefold(), name)))
    try:
        class_ids(different)
    except DataError as error:
        raise DataError(f"{where}: {error}") from error
    return different
