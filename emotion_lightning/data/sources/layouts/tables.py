"""CSV files that name images, one a row."""

import csv
import math
import os
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from emotion_lightning.data.images.region import Region, file_name, with_region
from emotion_lightning.data.sources.labels import (
    canonical_name,
    is_emotion,
    is_nothing,
    is_number,
    is_utf8,
    plain_number,
)
from emotion_lightning.data.sources.layouts.listing import (
    Sample,
    SampleList,
    file_source,
    is_plain,
    refuse_missing,
    relative_path,
    unique_class_names,
)
from emotion_lightning.data.sources.layouts.names import is_hidden, split_named
from emotion_lightning.data.sources.layouts.walk import is_image, visible_folders
from emotion_lightning.data.sources.splits import SPLITS, Split
from emotion_lightning.errors import DataError
from emotion_lightning.runs.files import PATH_ERRORS, read_json

FILE_COLUMNS = (
    *("filepath", "file_path", "path", "filename", "file_name", "file"),
    *("image", "image_path", "image_name", "img", "img_path"),
)
"""Columns, of which the first that a file has names the image."""

LABEL_COLUMNS = ("label", "emotion", "expression", "class", "class_name", "labels", "emotions")
"""Columns, of which the first that a file has names the class."""

GROUP_COLUMNS = ("subject", "group")
"""Columns, of which a file may have one, that name what must stay in one split; empty or nan for an image without."""

_NO_GROUP = ("", "nan", "NaN", "None", "<NA>")
"""What programs write for an image without a group; exactly so, because a person may be called NA."""

BOX_COLUMNS = ("xmin", "ymin", "xmax", "ymax")
"""Columns of a table that names the box of a face, in pixels, as exports of annotation tools have them."""

SUFFIXES = (".csv", ".tsv")


def is_csvs(folder: Path) -> bool:
    """Say whether ``folder`` has a table of images with their classes, and no class folders instead."""
    tables = split_tables(folder)
    file = next((tables[split] for split in SPLITS if split in tables), None)
    if file is None:
        return False
    header = set(header_of(file))
    if {"filepath", "label"} <= header and "train" in tables:
        return True
    if file.parent != folder:
        return True
    return not has_class_folders(folder) and (names_images(header) or file.name == "train.csv")


def has_class_folders(folder: Path) -> bool:
    """Say whether ``folder`` has a folder that is named as a split or an emotion."""
    return any(split_named(child.name) or is_emotion(child.name) for child in visible_folders(folder))


def split_tables(folder: Path) -> dict[Split, Path]:
    """Find the table of each split by its name: ``train.csv``, ``valid.csv``, ``Test.tsv``.

    In a folder of a split where images lie beside one another, its only table counts, such as ``train/metadata.csv``.

    Raises:
        DataError: Two are of one split.
    """
    found: dict[Split, Path] = {}
    for file in sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file()):
        split = None if is_hidden(file.name) else split_named(file.stem)
        exact = file.name == f"{split}.csv"
        if split is None or not (exact or names_images(header_of(file))):
            continue
        if split in found and not exact and found[split].name != f"{split}.csv":
            raise DataError(f"{folder} has both {found[split].name!r} and {file.name!r}: merge them or rename one")
        if exact or split not in found:
            found[split] = file
    for child in visible_folders(folder):
        split = split_named(child.name)
        if split and split not in found and (table := _table_of_images(child)):
            found[split] = table
    return found


def _table_of_images(folder: Path) -> Path | None:
    """Return the only table that names images, of a folder in which images lie beside one another."""
    files = sorted(folder.iterdir())
    if not any(is_image(path.name) for path in files):
        return None
    tables = [path for path in files if path.suffix.lower() in SUFFIXES and names_images(header_of(path))]
    return tables[0] if len(tables) == 1 else None


def names_images(header: Collection[str]) -> bool:
    """Say whether a table with these columns names images and their classes."""
    return not set(FILE_COLUMNS).isdisjoint(header) and not set(LABEL_COLUMNS).isdisjoint(header)


def names_splits(file: Path, split: Split = "train") -> bool:
    """Say whether a table has a column ``split`` that names another than ``split`` in a row."""
    if "split" not in header_of(file):
        return False
    return any(split_named(given) not in (split, None) for _, (given,) in csv_rows(file, "split"))


def read_csvs(root: Path, folder: Path) -> SampleList:
    """List the tables of ``folder``, one for each split, of which not all need be there."""
    tables = split_tables(folder)
    if not tables:
        raise DataError(f"{root} has no train.csv: write one with the columns filepath,label")
    rows, notes = list[Sample](), list[str]()
    class_names = mapped = label_map(folder)
    for split in SPLITS:
        if (file := tables.get(split)) is None:
            continue
        if names_splits(file, split):
            raise DataError(f"{file} names a split in each row: give it as `splits_file`")
        base, above = os.fspath(file.parent), file.parent == root
        listed = read_rows(file, partial(is_image_file, base), mapped, split)
        if split == "train":
            spelled, notes = _spellings(listed, file)
            if absent := [name for name in class_names or () if name not in spelled]:
                raise DataError(
                    f"class {absent[0]!r} has no images in {file}: add some or take it out of label_map.json"
                )
            class_names = class_names or spelled
        rows += [
            row
            if above and is_plain(row.name)
            else row._replace(name=relative_path(os.path.abspath(os.path.join(base, row.name)), root))
            for row in listed
        ]
    if class_names is None:  # there is no train.csv, whose classes would be those of the others
        class_names, notes = _spellings(rows, folder)
    source = file_source(root, rows)
    return SampleList("CSV manifests", root, class_names, rows, source, tuple(notes), tuple(tables.values()))


def _spellings(rows: Sequence[Sample], file: Path) -> tuple[tuple[str, ...], list[str]]:
    """Choose the most frequent spelling of each class, and say which others count as it."""
    counts = Counter(row.emotion for row in rows)
    chosen: dict[str, str] = {}
    for name in sorted(counts, key=lambda name: (-counts[name], name)):
        chosen.setdefault(canonical_name(name), name)
    others = [name for name in sorted(counts) if chosen[canonical_name(name)] != name]
    notes = [f"{name} counted as {chosen[canonical_name(name)]}" for name in others]
    return unique_class_names(chosen.values(), file), notes


def is_image_file(base: Path | str, name: str) -> bool:
    """Say whether ``name``, a path that starts from ``base``, names a file or a part of one."""
    return os.path.isfile(file_name(os.path.join(base, name)))


def csv_rows(
    file: Path, *columns: str, strip: bool = True, short: bool = False, optional: Sequence[str] = ()
) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of each line of a table and its values of ``columns``.

    Args:
        file: A text file in UTF-8, whose first line names its columns, divided by commas, semicolons or tabs. File
            names in it need not be UTF-8.
        columns: The names in lower case.
        strip: Take away blanks around the values.
        short: Yield a line that is too short without values; by default it is a DataError.
        optional: Columns that follow, whose values are empty in a line that is too short for them.
    """
    try:
        with file.open(newline="", encoding="utf-8-sig", errors=PATH_ERRORS) as stream:
            reader = _reader(stream)
            header = _plain(next(reader, []))
            _refuse_other_encodings(header, file)
            if absent := [name for name in columns if name not in header]:
                raise DataError(
                    f"{file} has no column {', '.join(absent)}: its first line must name {','.join(columns)}"
                )
            places = [header.index(name) for name in columns]
            more = [header.index(name) for name in optional]
            for row in filter(None, reader):
                if len(row) <= max(places):
                    if short:
                        yield reader.line_num, []
                        continue
                    raise DataError(f"{file} line {reader.line_num} has {len(row)} values, expected {len(header)}")
                values = [row[place].strip() if strip else row[place] for place in places]
                yield reader.line_num, values + [row[place].strip() if place < len(row) else "" for place in more]
    except (OSError, csv.Error) as error:
        raise DataError(f"{file} cannot be read as a CSV file: {error}") from error


def header_of(file: Path) -> list[str]:
    """Return the names of the columns of a table in lower case; none when it is not there or no text."""
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            return _plain(next(_reader(stream), []))
    except (OSError, UnicodeDecodeError, csv.Error):
        return []


def _reader(stream: TextIO) -> Any:
    """Read a table whose columns are divided by what its first line has most of."""
    first = stream.readline()
    stream.seek(0)
    return csv.reader(stream, delimiter=max(",;\t", key=first.count))


def _plain(header: list[str]) -> list[str]:
    return [name.strip().casefold() for name in header]


def _refuse_other_encodings(values: Iterable[str], where: Path | str) -> None:
    if not all(map(is_utf8, values)):
        raise DataError(f"{where} cannot be read as a CSV file: it is not UTF-8; save it as UTF-8")


def read_rows(
    file: Path,
    exists: Callable[[str], bool],
    class_names: Sequence[str] | None,
    split: Split | None = None,
) -> list[Sample]:
    """Read the columns of the image and its class, split unless it is given, subject or group if there is one, and what
    else the table says of the image.

    Where there are the columns of a box, the image is that part of it.

    A class may be given as its position in ``class_names``.
    """
    rows, missing, header = [], [], header_of(file)
    known = _keys(class_names) if class_names else None
    grouping = _group_column(file)
    names = (_column(header, FILE_COLUMNS), _column(header, LABEL_COLUMNS), *([] if split else ["split"]), *grouping)
    boxes = BOX_COLUMNS if set(BOX_COLUMNS) <= set(header) else ()
    more = [name for name in dict.fromkeys(header) if name and name not in {*names, *boxes, "split"}]
    pairs: dict[tuple[str, str], tuple[str, str]] = {}  # each once, as most come often
    for line, (name, label, *rest) in csv_rows(file, *names, *boxes, strip=False, optional=more):
        first, last = len(names) - 2, len(names) - 2 + len(boxes)
        given, box = rest[:first], rest[first:last]
        columns = tuple(pairs.setdefault(pair, pair) for pair in zip(more, rest[last:], strict=True))
        where = partial("{} line {}".format, file, line)
        if not label.isascii():
            _refuse_other_encodings([label], where())
        emotion = label.strip() if known is None else known.get(canonical_name(plain_number(label)))
        if not emotion:
            wanted = f"none of the classes {', '.join(class_names)}" if class_names else "empty"
            raise DataError(f"{where()}: label {label.strip()!r} is {wanted}: correct it")
        if known is None and split:
            _refuse_no_name(emotion, where)
        place = split or split_named(given[0])
        if place is None:
            raise DataError(f"{where()}: split {given[0]!r} is none of {', '.join(SPLITS)}: correct it")
        path = next(filter(exists, (name, name.strip(), name.strip().replace("\\", "/"))), None)
        if path is not None and box:
            path = with_region(path, _region(box, where()))
        group = given[-1] if grouping and given[-1].strip() not in _NO_GROUP else None
        rows.append(Sample(name if path is None else path, sys.intern(emotion), place, group, columns=columns))
        if path is None:
            _refuse_other_encodings([name], where())
            missing.append(f"line {line} {name!r}")
    refuse_missing(file, missing)
    if not rows:
        raise DataError(f"{file} has no rows: add some or remove the file")
    return rows


def _region(box: Sequence[str], where: str) -> Region:
    try:
        left, top, right, bottom = (max(float(value), 0.0) for value in box)
    except ValueError:
        left = top = right = bottom = 0.0
    if not (left < right < math.inf and top < bottom < math.inf):
        raise DataError(f"{where}: {', '.join(BOX_COLUMNS)} are {', '.join(box)}, which is no box: correct it")
    if max(right, bottom) <= 1:
        raise DataError(
            f"{where}: {', '.join(BOX_COLUMNS)} are {', '.join(box)}, which are shares of the image: multiply them by "
            "its width and height"
        )
    return Region(False, left, top, right - left, bottom - top)


def _column(header: Sequence[str], names: Sequence[str]) -> str:
    return next((name for name in names if name in header), names[0])


def _refuse_no_name(label: str, where: Callable[[], str]) -> None:
    """Refuse a label that names no class, and may mean anything."""
    if is_nothing(label):
        raise DataError(f"{where()}: label {label!r} says that there is none: correct it or remove the row")
    if is_number(label):
        raise DataError(
            f"{where()}: label {label!r} is a number, whose meaning cannot be seen: write label_map.json beside it, "
            'like {"angry": 0, "happy": 1}'
        )


def _group_column(file: Path) -> list[str]:
    header = header_of(file)
    found = [name for name in GROUP_COLUMNS if name in header]
    if len(found) > 1:
        raise DataError(f"{file} has both columns {' and '.join(found)}: keep the one that must stay in one split")
    return found


def _keys(class_names: Sequence[str]) -> dict[str, str]:
    """Map what a label may say, an index or any spelling of a name, to the class name; a name wins over an index."""
    indices = {str(index): name for index, name in enumerate(class_names)}
    return indices | {canonical_name(name): name for name in class_names}


def label_map(folder: Path) -> tuple[str, ...] | None:
    """Read label_map.json (class name to index) as class names in the order of their indices; None without one.

    It lies in ``folder`` or beside the table of training images.
    """
    places = (folder, *(table.parent for split, table in split_tables(folder).items() if split == "train"))
    file = next((file for place in places if (file := place / "label_map.json").is_file()), None)
    if file is None:
        return None
    try:
        ids = read_json(file)
    except (OSError, ValueError) as error:
        raise DataError(f"{file} cannot be read as JSON: {error}") from error
    if not isinstance(ids, dict) or not ids or any(type(index) is not int for index in ids.values()):
        raise DataError(f'{file} must map class names to whole numbers, like {{"angry": 0, "happy": 1}}')
    if sorted(ids.values()) != list(range(len(ids))):
        raise DataError(f"{file}: the indices must be 0 to {len(ids) - 1}, each once, not {sorted(ids.values())}")
    unique_class_names(ids, file)
    return tuple(sorted(ids, key=lambda name: int(ids[name])))
