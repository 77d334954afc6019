"""AffectNet, in the forms in which it is given out and shared: tables, annotation files or class folders."""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from emotion_lightning.data.sources.labels import canonical_name, plain_number
from emotion_lightning.data.sources.layouts.listing import (
    Sample,
    SampleList,
    file_source,
    refuse_missing,
    relative_path,
    safe_join,
)
from emotion_lightning.data.sources.layouts.tables import csv_rows, header_of
from emotion_lightning.data.sources.layouts.trees import has_splits, name_numbers, read_tree
from emotion_lightning.data.sources.layouts.walk import is_image, visible_folders
from emotion_lightning.data.sources.splits import Split
from emotion_lightning.errors import DataError

CLASSES = {
    "0": "neutral",
    "1": "happy",
    "2": "sad",
    "3": "surprise",
    "4": "fear",
    "5": "disgust",
    "6": "anger",
    "7": "contempt",
}
"""AffectNet's ids and the emotions they mean; copies numbered by the alphabet mean others."""

_EMOTIONS = {canonical_name(name) for name in CLASSES.values()}

EXCLUDED = {"8": "none", "9": "uncertain", "10": "non-face"}
"""Ids that are no emotion."""

_TABLES: dict[Split, str] = {"train": "training.csv", "val": "validation.csv"}
_SETS: dict[Split, str] = {"train": "train_set", "val": "val_set", "test": "test_set"}
_LISTS = ("", "Manually_Annotated_file_lists")
_IMAGES = ("Manually_Annotated/Manually_Annotated_Images", "Manually_Annotated_Images", "")


class _Entry(NamedTuple):
    """What a form of AffectNet says of one image: where it says so, the file, the label and the split."""

    where: str
    path: Path
    label: str
    split: Split | None


def is_affectnet(folder: Path) -> bool:
    """Say whether ``folder`` has AffectNet's tables or annotation files; class folders are no sign of it."""
    if any(_table(folder, split) for split in _TABLES) or _has_annotations(folder):
        return True
    file, columns = folder / "labels.csv", set(header_of(folder / "labels.csv"))
    if {"pth", "label"} <= columns:  # a column that only AffectNet's shared copies have
        return not has_splits(folder)
    return _is_unclear(folder) and {canonical_name(label) for _, (label,) in csv_rows(file, "label")} == _EMOTIONS


def refuse_unclear(folder: Path) -> None:
    """Refuse a labels.csv of images, in place of class folders, that may be AffectNet's or any other data's.

    Raises:
        DataError: There is one.
    """
    if _is_unclear(folder):
        raise DataError(
            f"{folder / 'labels.csv'} may be AffectNet's or not, which decides what a number means: "
            "`layout=affectnet` takes it for AffectNet's; otherwise write a train.csv with the columns filepath,label"
        )


def _is_unclear(folder: Path) -> bool:
    if has_splits(folder) or not {"image", "label"} <= set(header_of(folder / "labels.csv")):
        return False
    return not any(canonical_name(child.name) in _EMOTIONS for child in visible_folders(folder))


def read_affectnet(root: Path, folder: Path) -> SampleList:
    """List AffectNet's images of eight emotions, mapped by name or by the official ids.

    Raises:
        DataError: A label is not AffectNet's, an image is missing, or nothing of AffectNet is found.
    """
    if tables := [table for split in _TABLES if (table := _table(folder, split))]:
        return _listing(root, _official(folder), *tables)
    if _has_annotations(folder):
        return _listing(root, _annotations(folder))
    if header_of(folder / "labels.csv"):
        return _listing(root, _labels(folder / "labels.csv"), folder / "labels.csv")
    return name_numbers(read_tree(root, folder), "AffectNet", CLASSES)


def _listing(root: Path, entries: Iterable[_Entry], *tables: Path) -> SampleList:
    """Map the labels, and leave out what is no emotion."""
    known = CLASSES | {canonical_name(name): name for name in CLASSES.values()}
    rows, excluded, known_files = list[Sample](), Counter[str](), list(tables)
    for where, path, label, split in entries:
        label = plain_number(label)
        if label in EXCLUDED:
            excluded[EXCLUDED[label]] += 1
            known_files.append(path)
        elif (emotion := known.get(canonical_name(label))) is None:
            classes = ", ".join(f"{number} {name}" for number, name in CLASSES.items())
            raise DataError(f"{where}: label {label!r} is none of AffectNet's ({classes}): correct it")
        else:
            rows.append(Sample(relative_path(path, root), emotion, split))
    if not rows:
        raise DataError(f"{root} has no image of an emotion: give the folder with AffectNet's images and labels")
    present = {row.emotion for row in rows}
    names = tuple(name for name in CLASSES.values() if name in present)
    counts = ", ".join(f"{excluded[name]:,} {name}" for name in EXCLUDED.values() if excluded[name])
    notes = (f"left out {counts}",) if counts else ()
    return SampleList("AffectNet", root, names, rows, file_source(root, rows), notes, tuple(known_files))


def _table(folder: Path, split: Split) -> Path | None:
    """Find an official table by its columns, for other data has files of these names too."""
    files = (folder / place / _TABLES[split] for place in _LISTS)
    return next((file for file in files if {"subdirectory_filepath", "expression"} <= set(header_of(file))), None)


def _official(folder: Path) -> Iterator[_Entry]:
    """Read training.csv and validation.csv, whose paths start from the folder of the annotated images."""
    base = next(folder / place for place in _IMAGES if (folder / place).is_dir())
    for split in _TABLES:
        if not (file := _table(folder, split)):
            continue
        missing = []
        for line, (name, label) in csv_rows(file, "subdirectory_filepath", "expression"):
            where = f"{file} line {line}"
            path = safe_join(base, name, where)
            if label not in EXCLUDED and not path.is_file():  # those left out are often not unpacked
                missing.append(f"line {line} {name!r}")
            yield _Entry(where, path, label, split)
        refuse_missing(file, missing)


def _labels(file: Path) -> Iterator[_Entry]:
    """Read a labels.csv with the columns pth or image, and label, as shared copies have."""
    column, missing = "pth" if "pth" in header_of(file) else "image", []
    for line, (name, label) in csv_rows(file, column, "label"):
        path = safe_join(file.parent, name, f"{file} line {line}")
        if not path.is_file():
            missing.append(f"line {line} {name!r}")
        yield _Entry(f"{file} line {line}", path, label, None)
    refuse_missing(file, missing)


def _has_annotations(folder: Path) -> bool:
    return any((folder / name / "annotations").is_dir() for name in _SETS.values())


def _annotations(folder: Path) -> Iterator[_Entry]:
    """Read annotations/ID_exp.npy beside images/ID.jpg."""
    for split, name in _SETS.items():
        annotations = folder / name / "annotations"
        if not annotations.is_dir():
            continue
        images = {path.stem: path for path in (folder / name / "images").glob("*") if is_image(path.name)}
        labels = {file.name.removesuffix("_exp.npy"): file for file in annotations.glob("*_exp.npy")}
        refuse_missing(annotations, [f"the image of {labels[key].name}" for key in sorted(labels.keys() - images)])
        refuse_missing(folder / name / "images", [f"{key}_exp.npy" for key in sorted(images.keys() - labels)])
        for key in sorted(labels):
            yield _Entry(str(labels[key]), images[key], _label(labels[key]), split)


def _label(file: Path) -> str:
    try:
        return str(int(np.load(file, allow_pickle=False).item()))  # the id is stored as text
    except (OSError, ValueError, TypeError, EOFError) as error:
        raise DataError(f"{file} holds no expression: {error}; take it out with its image, or mend it") from error
