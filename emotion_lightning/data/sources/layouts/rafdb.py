"""RAF-DB: its list of labels beside the aligned faces, or the numbered folders in which it is shared."""

import re
from dataclasses import replace
from pathlib import Path

from emotion_lightning.data.sources.layouts.listing import (
    Sample,
    SampleList,
    file_source,
    refuse_missing,
    relative_path,
)
from emotion_lightning.data.sources.layouts.tables import csv_rows, header_of
from emotion_lightning.data.sources.layouts.trees import has_splits, name_numbers, read_split_tree
from emotion_lightning.data.sources.layouts.walk import images_below, visible_folders
from emotion_lightning.data.sources.splits import Split
from emotion_lightning.errors import DataError

CLASSES = {
    "1": "surprise",
    "2": "fear",
    "3": "disgust",
    "4": "happiness",
    "5": "sadness",
    "6": "anger",
    "7": "neutral",
}
"""RAF-DB's ids and the emotions they mean."""

LIST = "list_patition_label.txt"  # spelled so in the archive
_LINE = re.compile(r"((train|test)_\d+)(?:_aligned)?\.jpg\s+([1-7])")
_ALIGNED = re.compile(r"(train|test)_\d+_aligned\.jpg")
_LABELS = ("train_labels.csv", "test_labels.csv")


def is_rafdb(folder: Path) -> bool:
    """Say whether ``folder`` has RAF-DB's list, or numbered folders that its tables or file names show to be its."""
    return _find_list(folder) is not None or _has_numbered(folder)


def read_rafdb(root: Path, folder: Path) -> SampleList:
    """List RAF-DB's train and test images.

    Raises:
        DataError: A line of the list, a folder or a row of a table is not RAF-DB's, or images are missing.
    """
    if file := _find_list(folder):
        return _read_list(root, file)
    base = _numbered(folder)
    if not has_splits(base):
        raise DataError(
            f"{root} is no RAF-DB: expected {LIST} beside Image/aligned, or {{train,test}}/{{1..7}}/*.jpg; "
            "`layout=auto` finds the layout by looking"
        )
    listing = name_numbers(read_split_tree(root, base), "RAF-DB", CLASSES)
    tables = tuple(folder / table for table in _LABELS if header_of(folder / table))
    for table in tables:
        _compare(table, listing)
    return replace(listing, known_files=tables)


def _find_list(folder: Path) -> Path | None:
    places = (folder / place / LIST for place in ("", "EmoLabel", "basic", "basic/EmoLabel"))
    return next((place for place in places if place.is_file()), None)


def _numbered(folder: Path) -> Path:
    return folder / "DATASET" if (folder / "DATASET").is_dir() else folder


def _has_numbered(folder: Path) -> bool:
    train = _numbered(folder) / "train"
    classes = visible_folders(train) if train.is_dir() else []
    if not classes or any(child.name not in CLASSES for child in classes):
        return False
    if {"image", "label"} <= set(header_of(folder / _LABELS[0])):
        return True
    images = images_below(classes[0])
    return bool(images) and all(_ALIGNED.fullmatch(image.name) for image in images)


def _read_list(root: Path, file: Path) -> SampleList:
    """List what ``list_patition_label.txt`` names; it leaves out the ``_aligned`` of the files' names."""
    base = file.parent.parent if file.parent.name == "EmoLabel" else file.parent
    folder = next((base / place for place in ("Image/aligned", "aligned") if (base / place).is_dir()), None)
    if folder is None:
        raise DataError(f"{base} has no folder Image/aligned beside {LIST}: unpack aligned.zip there")
    there, rows, missing = {path.name for path in folder.iterdir()}, list[Sample](), []
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file} cannot be read: {error}") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        if not (found := _LINE.fullmatch(line.strip())):
            raise DataError(f"{file} line {number}: {line!r} is no name and id from 1 to 7, like 'train_00001.jpg 5'")
        split: Split = "train" if found[2] == "train" else "test"
        name = f"{found[1]}_aligned.jpg"
        rows.append(Sample(relative_path(folder / name, root), CLASSES[found[3]], split))
        if name not in there:
            missing.append(f"line {number} {name!r}")
    refuse_missing(file, missing)
    if not rows:
        raise DataError(f"{file} has no lines: unpack it anew")
    present = {row.emotion for row in rows}
    return SampleList("RAF-DB", root, tuple(n for n in CLASSES.values() if n in present), rows, file_source(root, rows))


def _compare(table: Path, listing: SampleList) -> None:
    """Refuse numbered folders that contradict the table that is shared with them."""
    emotions = {row.name.rpartition("/")[2]: row.emotion for row in listing.rows}
    missing = []
    for line, (name, label) in csv_rows(table, "image", "label"):
        if name not in emotions:
            missing.append(f"line {line} {name!r}")
        elif CLASSES.get(label) != emotions[name]:
            raise DataError(f"{table} line {line}: {name} has label {label!r} but is in a folder of {emotions[name]}")
    refuse_missing(table, missing)
