"""CSV files that name images, one a row."""

import csv
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from emotion_lightning.data.sources.labels import canonical_name
from emotion_lightning.data.sources.layouts.listing import (
    Sample,
    SampleList,
    file_source,
    refuse_missing,
    relative_path,
    unique_class_names,
)
from emotion_lightning.data.sources.layouts.names import split_named
from emotion_lightning.data.sources.splits import SPLITS, Split
from emotion_lightning.errors import DataError

GROUP_COLUMNS = ("subject", "group")
"""Columns, of which a file may have one, that name what must stay in one split; empty for an image without."""


def read_csvs(root: Path, folder: Path) -> SampleList:
    """List ``train.csv``, ``val.csv`` and ``test.csv`` in ``folder``, the last two if they are there."""
    if not (folder / "train.csv").is_file():
        raise DataError(f"{root} has no train.csv: write one with the columns filepath,label")
    class_names, rows, tables = label_map(folder), list[Sample](), list[Path]()
    for split in SPLITS:
        file = folder / f"{split}.csv"
        if not file.is_file():
            continue
        listed = read_rows(file, lambda name: (folder / name).is_file(), class_names, split)
        tables.append(file)
        spelled = unique_class_names((row.emotion for row in listed), file)
        if split == "train":
            if absent := [name for name in class_names or () if name not in spelled]:
                raise DataError(
                    f"class {absent[0]!r} has no images in {file}: add some or take it out of label_map.json"
                )
            class_names = class_names or spelled
        rows += [row._replace(name=relative_path(Path(os.path.abspath(folder / row.name)), root)) for row in listed]
    assert class_names is not None  # train.csv has rows
    source = file_source(root, rows, anywhere=True)
    return SampleList("CSV manifests", root, class_names, rows, source, known_files=tuple(tables))


def csv_rows(file: Path, *columns: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of each line of a CSV file and its values of ``columns``, without blanks around them."""
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(stream)
            header = _plain(next(reader, []))
            if absent := [name for name in columns if name not in header]:
                raise DataError(
                    f"{file} has no column {', '.join(absent)}: its first line must name {','.join(columns)}"
                )
            places = [header.index(name) for name in columns]
            for row in filter(None, reader):
                if len(row) <= max(places):
                    raise DataError(f"{file} line {reader.line_num} has {len(row)} values, expected {len(header)}")
                yield reader.line_num, [row[place].strip() for place in places]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{file} cannot be read as a CSV file: {error}") from error


def header_of(file: Path) -> list[str]:
    """Return the names of the columns of a CSV file in lower case; none when it is not there or no text."""
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            return _plain(next(csv.reader(stream), []))
    except (OSError, UnicodeDecodeError, csv.Error):
        return []


def _plain(header: list[str]) -> list[str]:
    return [name.strip().casefold() for name in header]


def read_rows(
    file: Path, exists: Callable[[str], bool], class_names: Sequence[str] | None, split: Split | None = None
) -> list[Sample]:
    """Read the columns filepath and label, split unless it is given, and subject or group if there is one."""
    rows, missing = [], []
    known = _keys(class_names) if class_names else None
    grouping = _group_column(file)
    for line, (name, label, *given) in csv_rows(file, "filepath", "label", *([] if split else ["split"]), *grouping):
        emotion = label if known is None else known.get(canonical_name(label))
        if not emotion:
            wanted = f"none of the classes {', '.join(class_names)}" if class_names else "empty"
            raise DataError(f"{file} line {line}: label {label!r} is {wanted}: correct it")
        place = split or split_named(given[0])
        if place is None:
            raise DataError(f"{file} line {line}: split {given[0]!r} is none of {', '.join(SPLITS)}: correct it")
        rows.append(Sample(name, emotion, place, given[-1] or None if grouping else None))
        if not exists(name):
            missing.append(f"line {line} {name!r}")
    refuse_missing(file, missing)
    if not rows:
        raise DataError(f"{file} has no rows: add some or remove the file")
    if absent := {"train", "val"} - {row.split for row in rows} if split is None else set():
        raise DataError(f"{file} has no rows of split {min(absent)!r}: add some")
    return rows


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
    """Read label_map.json (class name to index) as class names in the order of their indices; None without one."""
    file = folder / "label_map.json"
    if not file.is_file():
        return None
    try:
        ids = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise DataError(f"{file} cannot be read as JSON: {error}") from error
    if not isinstance(ids, dict) or not ids or any(type(index) is not int for index in ids.values()):
        raise DataError(f'{file} must map class names to whole numbers, like {{"angry": 0, "happy": 1}}')
    if sorted(ids.values()) != list(range(len(ids))):
        raise DataError(f"{file}: the indices must be 0 to {len(ids) - 1}, each once, not {sorted(ids.values())}")
    unique_class_names(ids, file)
    return tuple(sorted(ids, key=lambda name: int(ids[name])))
