import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emotion_lightning.data.sources.manifest import read_manifest
from emotion_lightning.errors import DataError
from tests.data.files import EMOSET_EMOTIONS, emoset

INFO = {"emotion": {"label2idx": {"awe": 1, "amusement": 0, "anger": 2}}, "brightness": {"label2idx": {"0.0": 0}}}


def test_rows_of_names(tmp_path: Path) -> None:
    manifest = read_manifest(emoset(tmp_path))
    assert manifest.describe() == "EmoSet, 3 classes (amusement, anger, awe), 6 train, 3 val, 3 test"
    assert manifest.class_names == ("amusement", "anger", "awe")
    assert manifest.names[1] == "image/awe/awe_00001.jpg"
    assert manifest.class_names[manifest.labels[1]] == "awe"
    assert manifest.read(1).size == (2, 2)


@pytest.mark.parametrize("label", [int, str])
@pytest.mark.parametrize("elements", [3, 4])
def test_rows_of_indices(tmp_path: Path, label: Callable[[int], object], elements: int) -> None:
    (tmp_path / "EmoSet-118K").mkdir()
    (tmp_path / "EmoSet-118K" / "info.json").write_text(json.dumps(INFO))
    emoset(tmp_path / "EmoSet-118K", label, elements)
    manifest = read_manifest(tmp_path)
    assert manifest.class_names == EMOSET_EMOTIONS  # in the order of the indices
    assert manifest.labels[:3] == (0, 1, 2)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([["awe", "a"]], r"train\.json row 1 is not label, image and annotation"),
        ([["awe", "id", 5, "a"]], "row 1 is not label, image and annotation"),
        ([["awe", "gone.jpg", "a"]], r"train\.json names 1 missing file: row 1 'gone\.jpg'"),
        ([["awe", "../x.jpg", "a"]], r"train\.json row 1: '\.\./x\.jpg' is no path below"),
        ([[3, "image/awe/awe_00001.jpg", "a"]], r"row 1: label 3 is neither a name nor an index .*none without info"),
        ([[None, "image/awe/awe_00001.jpg", "a"]], "row 1: label None is neither"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, rows: list[Any], message: str) -> None:
    emoset(tmp_path)
    (tmp_path / "train.json").write_text(json.dumps(rows))
    with pytest.raises(DataError, match=message):
        read_manifest(tmp_path)


def test_faults_of_its_files(tmp_path: Path) -> None:
    emoset(tmp_path)
    (tmp_path / "val.json").write_text("[[")
    with pytest.raises(DataError, match=r"val\.json cannot be read as JSON"):
        read_manifest(tmp_path)
    (tmp_path / "info.json").write_text('{"emotion": {"label2idx": {"awe": "1"}}}')
    with pytest.raises(DataError, match=r"info\.json has no emotion\.label2idx"):
        read_manifest(tmp_path)
    (tmp_path / "train.json").unlink()
    with pytest.raises(DataError, match=r"is no EmoSet: expected train\.json"):
        read_manifest(tmp_path, layout="emoset")
