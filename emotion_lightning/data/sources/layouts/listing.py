"""What a layout holds, and the ways in which its readers look at names."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from emotion_lightning.data.images.decode import Files, PixelRows
from emotion_lightning.data.sources.labels import class_ids, has_line_break, is_utf8, labels_of
from emotion_lightning.data.sources.splits import Split
from emotion_lightning.errors import DataError


class Sample(NamedTuple):
    """One image as a layout names it: below ROOT, its class as spelled there, its split and group where given.

    ``votes`` says how many people gave each answer, by its canonical name, where several were asked. ``columns`` are
    the further columns of a table and what they say of the image.
    """

    name: str
    emotion: str
    split: Split | None
    group: str | None = None
    votes: Mapping[str, int] | None = None
    columns: tuple[tuple[str, str], ...] = ()


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
        unknown: Classes that the model does not know, with the number of images that are left out therefore.
    """

    layout: str
    root: Path
    class_names: tuple[str, ...]
    rows: list[Sample]
    source: Files | PixelRows
    notes: tuple[str, ...] = ()
    known_files: tuple[Path, ...] = ()
    unread: tuple[str, ...] = ()
    unknown: Mapping[str, int] = field(default_factory=dict)

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
        """Whether images have no split yet, or those of training none for validation, so that one has to be cut."""
        splits = {row.split for row in self.rows}
        return None in splits or ("train" in splits and "val" not in splits)

    def keep(self, positions: Sequence[int]) -> "SampleList":
        """Return the listing of the rows at ``positions`` alone, in that order."""
        if isinstance(self.source, Files):
            source: Files | PixelRows = Files([self.source.names[place] for place in positions])
        else:
            source = PixelRows(self.source.pixels[list(positions)])
        return replace(self, rows=[self.rows[place] for place in positions], source=source)


def file_source(root: Path, rows: Iterable[Sample]) -> Files:
    """Return what reads the image of each of ``rows``, whose names start from ``root``."""
    base = _folder(root)
    return Files([base + row.name if is_plain(row.name) else os.fspath(root / row.name) for row in rows])


def relative_path(path: Path | str, root: Path) -> str:
    """Return the path below ``root`` with forward slashes, or the whole path of a file that is elsewhere."""
    return os.fspath(path).removeprefix(_folder(root)).replace(os.sep, "/")


@lru_cache(maxsize=1)  # asked for every image of a data set, of which there may be a million
def _folder(path: Path) -> str:
    return os.path.join(path, "")


def is_plain(name: str) -> bool:
    """Say whether a path below a folder is written as ``Path`` writes it."""
    return os.sep == "/" and not name.startswith(("/", ".")) and "//" not in name and "/." not in name


def safe_join(folder: Path, name: str, where: str) -> Path:
    """Return the file that a data set's own list means by ``name``.

    Raises:
        DataError: The name leads out of ``folder``.
    """
    plain = PurePosixPath(name.replace("\\", "/"))
    if plain.is_absolute() or ".." in plain.parts or not plain.parts or ":" in plain.parts[0]:
        raise DataError(f"{where}: {name!r} is no path below {folder}: correct it")
    return folder / plain


def text_of(file: Path) -> str:
    """Return what a text file in UTF-8 holds.

    Raises:
        DataError: It cannot be read, or is no such text.
    """
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file} cannot be read: {error}") from error


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
    if broken := [name for name in different if has_line_break(name)]:
        raise DataError(f"{where}: the class name {broken[0]!r} has a line break, which no table can show: rename it")
    try:
        class_ids(different)
    except DataError as error:
        raise DataError(f"{where}: {error}") from error
    return different
