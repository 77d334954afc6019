"""EmoSet: a JSON file for each split, whose rows name label, image and annotation."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emotion_lightning.data.sources.labels import is_nothing, is_number
from emotion_lightning.data.sources.layouts.listing import (
    Sample,
    SampleList,
    file_source,
    refuse_missing,
    relative_path,
    safe_join,
    unique_class_names,
)
from emotion_lightning.data.sources.splits import SPLITS, Split
from emotion_lightning.errors import DataError
from emotion_lightning.runs.files import read_json

_ROWS = re.compile(rb"(?:\xef\xbb\xbf)?\s*\[\s*\[")


def is_emoset(folder: Path) -> bool:
    """Say whether ``folder`` has a train.json that begins as a list of lists does."""
    file = folder / "train.json"
    if not file.is_file():
        return False
    with file.open("rb") as stream:
        return _ROWS.match(stream.read(64)) is not None


def read_emoset(root: Path, folder: Path) -> SampleList:
    """List ``train.json``, ``val.json`` and ``test.json``, the last two if they are there.

    A row has 3 or 4 elements: the label first, the image next to last, its annotation last.

    Raises:
        DataError: A file or row is not as it should be, or names a missing image.
    """
    if not (folder / "train.json").is_file():
        raise DataError(
            f"{root} is no EmoSet: expected train.json, with rows of label, image and annotation; "
            "`layout=auto` finds the layout by looking"
        )
    by_index, rows = _indices(folder), list[Sample]()
    for split in SPLITS:
        if (file := folder / f"{split}.json").is_file():
            rows += _read_rows(root, file, split, by_index)
    learnt = unique_class_names((row.emotion for row in rows if row.split == "train"), folder / "train.json")
    ordered = tuple(name for name in by_index.values() if name in learnt)
    names = ordered if len(ordered) == len(learnt) else learnt
    return SampleList("EmoSet", root, names, rows, file_source(root, rows))


def _read_rows(root: Path, file: Path, split: Split, by_index: Mapping[str, str]) -> list[Sample]:
    rows, missing = [], []
    content = _load(file)
    if not isinstance(content, list) or not content:
        raise DataError(f"{file} is no list of rows: unpack it anew")
    for number, row in enumerate(content, 1):
        where = f"{file} row {number}"
        if not isinstance(row, list) or len(row) not in (3, 4) or not isinstance(row[-2], str):
            raise DataError(f"{where} is not label, image and annotation, in 3 or 4 elements: correct it")
        path = safe_join(file.parent, row[-2], where)
        rows.append(Sample(relative_path(path, root), _emotion(row[0], by_index, where), split))
        if not path.is_file():
            missing.append(f"row {number} {row[-2]!r}")
    refuse_missing(file, missing)
    return rows


def _emotion(label: object, by_index: Mapping[str, str], where: str) -> str:
    text = str(label).strip() if isinstance(label, str) or type(label) is int else ""
    if text in by_index:
        return by_index[text]
    if is_nothing(text) or is_number(text):
        known = ", ".join(by_index.values()) or "none without info.json"
        raise DataError(f"{where}: label {label!r} is neither a name nor an index of info.json ({known}): correct it")
    return text


def _indices(folder: Path) -> dict[str, str]:
    """Read what the indices mean from info.json, in their order; nothing when it is not there."""
    file = folder / "info.json"
    if not file.is_file():
        return {}
    info = _load(file)
    emotions = info.get("emotion", info) if isinstance(info, dict) else {}
    ids = emotions.get("label2idx") if isinstance(emotions, dict) else None
    if not isinstance(ids, dict) or any(type(index) is not int for index in ids.values()):
        raise DataError(f"{file} has no emotion.label2idx that maps names to whole numbers: take it out or correct it")
    return {str(index): name for name, index in sorted(ids.items(), key=lambda item: int(item[1]))}


def _load(file: Path) -> Any:
    try:
        return read_json(file)
    except (OSError, ValueError) as error:
        raise DataError(f"{file} cannot be read as JSON: {error}") from error
