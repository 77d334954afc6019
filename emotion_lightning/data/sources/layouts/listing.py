"""What a layout holds, and the ways in which its readers look at folders and names."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from emotion_lightning.data.images.decode import IMAGE_SUFFIXES, Files, PixelRows
from emotion_lightning.data.sources.labels import class_ids, is_utf8, labels_of
from emotion_lightning.data.sources.layouts.names import is_foreign, is_hidden
from emotion_lightning.data.sources.splits import Split
from emotion_lightning.errors import DataError


class Sample(NamedTuple):
    """One image as a layout names it: below ROOT, its class as spelled there, its split and group where given."""

    name: str
    emotion: str
    split: Split | None
    group: str | None = None


@dataclass(frozen=True)
class SampleList:
    """The images of a data set with their classes, before missing splits are cut.

    Attributes:
        layout: How the data is kept, in words.
        root: Folder that the names of the rows start from.
        class_names: The classes as the data spells them, in the order that labels follow.
        rows: The images.
        source: Reads the image of the row at a position.
        notes: What a run says of the data besides its size, such as how many images were left out.
        known_files: Files besides the images that were read, and images that are left out with a note.
        unread: Files below ``root`` that are neither read nor describe the data, as paths below it.
    """

    layout: str
    root: Path
    class_names: tuple[str, ...]
    rows: list[Sample]
    source: Files | PixelRows
    notes: tuple[str, ...] = ()
    known_files: tuple[Path, ...] = ()
    unread: tuple[str, ...] = ()

    @property
    def groups(self) -> tuple[str | None, ...] | None:
        """What each image has in common with others, such as its subject; None when no image has a group."""
        groups = tuple(row.group for row in self.rows)
        return groups if any(groups) else None

    @property
    def labels(self) -> list[int]:
        """Position in ``class_names`` of each image's class.

        Raises:
            DataError: An image has none of the classes.
        """
        return labels_of((row.emotion for row in self.rows), self.class_names)

    @property
    def lacks_splits(self) -> bool:
        """Whether there are no validation images yet, so that splits have to be cut."""
        return all(row.split != "val" for row in self.rows)

    def keep(self, positions: Sequence[int]) -> "SampleList":
        """Return the listing of the rows at ``positions`` alone, in that order."""
        if isinstance(self.source, Files):
            source: Files | PixelRows = Files(tuple(self.source.paths[place] for place in positions))
        else:
            source = PixelRows(self.source.pixels[list(positions)])
        return replace(self, rows=[self.rows[place] for place in positions], source=source)


def visible_folders(folder: Path) -> list[Path]:
    """Return the folders in ``folder`` by name, without those that are none of the data."""
    folders = [path for path in folder.iterdir() if path.is_dir() and not is_foreign(os.fspath(path))]
    return sorted(folders, key=lambda path: (path.name.casefold(), path.name))


def is_image(name: str) -> bool:
    """Say whether a file is an image by its suffix."""
    return not is_hidden(name) and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def images_below(folder: Path) -> list[Path]:
    """Return every image below ``folder``, however deep, in the order of their paths.

    Raises:
        DataError: A folder cannot be listed.
    """
    found = [path for path in files_below(folder) if is_image(os.path.basename(path))]
    return [Path(path) for path in sorted(found, key=lambda path: path.split(os.sep))]


def files_below(folder: Path) -> Iterator[str]:
    """Yield the path of every file below ``folder``, however deep, without what is none of the data.

    Raises:
        DataError: A folder cannot be listed.
    """
    for parent, folders, files in os.walk(folder, onerror=_cannot_list):
        folders[:] = [name for name in folders if not is_foreign(os.path.join(parent, name))]
        yield from (os.path.join(parent, name) for name in files if not is_hidden(name))


def _check_inside(path: Path, home: Path) -> None:
    target = Path(os.path.realpath(path))
    if not target.is_relative_to(home):
        raise DataError(
            f"{path} leads to {target}, outside {home}: copy it there, or name the images in a CSV file (train.csv)"
        )


def _cannot_list(error: OSError) -> None:
    raise DataError(f"{error.filename} cannot be listed: {error.strerror}") from error


def file_source(root: Path, rows: Iterable[Sample], anywhere: bool = False) -> Files:
    """Return what reads the image of each of ``rows``.

    Args:
        root: Folder that the names of the rows start from.
        rows: The images.
        anywhere: The user named the files, and may have named any.

    Raises:
        DataError: A link leads out of ``root``: data from elsewhere must not name the files of whoever unpacks it.
    """
    paths = tuple(root / row.name for row in rows)
    if not anywhere:
        home = Path(os.path.realpath(root))
        for path in (*dict.fromkeys(path.parent for path in paths), *filter(os.path.islink, paths)):
            _check_inside(path, home)
    return Files(paths)


def relative_path(path: Path, root: Path) -> str:
    """Return the path below ``root`` with forward slashes, or the whole path of a file that is elsewhere."""
    text, base = os.fspath(path), os.path.join(root, "")  # as text, because there may be a hundred thousand
    return text.removeprefix(base).replace(os.sep, "/")


def safe_join(folder: Path, name: str, where: str) -> Path:
    """Return the file that a data set's own list means by ``name``.

    Raises:
        DataError: The name leads out of ``folder``.
    """
    plain = PurePosixPath(name.replace("\\", "/"))
    if plain.is_absolute() or ".." in plain.parts or not plain.parts or ":" in plain.parts[0]:
        raise DataError(f"{where}: {name!r} is no path below {folder}: correct it")
    return folder / plain


def refuse_missing(file: Path, missing: Sequence[str]) -> None:
    """Refuse a ``file`` that names images which are not there; ``missing`` says each in words."""
    if missing:
        more = f" and {len(missing) - 5:,} more" if len(missing) > 5 else ""
        raise DataError(
            f"{file} names {len(missing):,} missing file{'s' * (len(missing) > 1)}: {', '.join(missing[:5])}{more}; "
            "correct the paths or remove the rows"
        )


def unique_class_names(names: Iterable[str], where: Path) -> tuple[str, ...]:
    """Sort the different names, of which no two may mean the same class."""
    different = tuple(sorted(set(names), key=lambda name: (name.casefold(), name)))
    if foreign := [name for name in different if not is_utf8(name)]:
        raise DataError(f"{where}: the class name {foreign[0]!r} is not UTF-8: rename it")
    try:
        class_ids(different)
    except DataError as error:
        raise DataError(f"{where}: {error}") from error
    return different
