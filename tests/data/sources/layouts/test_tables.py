import json
from pathlib import Path

import pytest

from emotion_lightning.data.sources.manifest import read_manifest
from emotion_lightning.errors import DataError
from tests.data.files import face, table


def test_csv_manifests_without_a_map_sort_the_names(manifests: Path) -> None:
    manifest = read_manifest(manifests)
    assert manifest.describe() == "CSV manifests, 2 classes (happy, sad), 4 train, 2 val"
    assert manifest.class_names == ("happy", "sad")
    assert manifest.names[:2] == ("faces/0.png", "faces/1.png")
    assert manifest.labels[:2] == (1, 0)


def test_csv_labels_are_names_or_indices_of_the_map(manifests: Path) -> None:
    (manifests / "label_map.json").write_text('{"sad": 0, "Happy": 1}')
    rows = [("faces/0.png", "0"), ("faces/1.png", "joy"), ("faces/2.png", " Sadness "), ("faces/3.png", 1)]
    table(manifests / "train.csv", "\ufefflabel_id, Label ,FilePath", [(9, label, name) for name, label in rows])
    manifest = read_manifest(manifests)
    assert manifest.class_names == ("sad", "Happy")
    assert manifest.labels[:4] == (0, 1, 0, 1)


def test_csv_paths_may_be_absolute_and_outside(manifests: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("elsewhere") / "face.png"
    face(outside, 9)
    rows = [(outside, "happy"), (manifests / "faces/0.png", "sad"), ("faces/../faces/1.png", "sad")]
    table(manifests / "train.csv", "filepath,label", rows)
    manifest = read_manifest(manifests)
    assert manifest.names[:3] == (outside.as_posix(), "faces/0.png", "faces/1.png")
    assert manifest.read(0).getpixel((0, 0)) == (9, 0, 7)


@pytest.mark.parametrize(
    ("header", "rows", "message"),
    [
        ("path,label", [("faces/0.png", "sad")], r"train\.csv has no column filepath: its first line must name"),
        ("filepath,label", [], r"train\.csv has no rows"),
        ("filepath,label", [("faces/0.png",)], r"train\.csv line 2 has 1 values, expected 2"),
        ("filepath,label", [("faces/0.png", " ")], r"train\.csv line 2: label '' is empty"),
        ("filepath,label", [("faces/0.png", "sad"), ("a.png", "sad")], r"1 missing file: line 3 'a\.png'; correct"),
        ("filepath,label", [("", "sad")], "1 missing file: line 2 ''"),
        (
            "filepath,label",
            [(f"{n}.png", "sad") for n in range(1200)],
            r"1,200 missing files: .*'4\.png' and 1,195 more;",
        ),
        (
            "filepath,label",
            [("faces/0.png", "anger"), ("faces/1.png", "angry")],
            r"train\.csv: classes 'anger' and 'angry'",
        ),
    ],
)
def test_faults_of_a_csv(manifests: Path, header: str, rows: list[tuple[str, ...]], message: str) -> None:
    table(manifests / "train.csv", header, rows)
    with pytest.raises(DataError, match=message):
        read_manifest(manifests)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read as JSON"),
        ("[]", "must map class names to whole numbers"),
        ('{"sad": "0", "happy": 1}', "must map class names to whole numbers"),
        ('{"sad": 1, "happy": 2}', r"indices must be 0 to 1, each once, not \[1, 2\]"),
        ('{"sad": 0, "happy": 1, "joy": 2}', "classes 'happy' and 'joy' mean the same"),
        ('{"sad": 0, "happy": 1, "fear": 2}', "class 'fear' has no images in .*train.csv"),
        ('{"sad": 0, "fear": 1}', "train.csv line 3: label 'happy' is none of the classes sad, fear"),
    ],
)
def test_faults_of_a_label_map(manifests: Path, content: str, message: str) -> None:
    (manifests / "label_map.json").write_text(content)
    with pytest.raises(DataError, match=message):
        read_manifest(manifests)


def test_index_outside_the_map(manifests: Path) -> None:
    (manifests / "label_map.json").write_text(json.dumps({"sad": 0, "happy": 1}))
    table(manifests / "val.csv", "filepath,label", [("faces/4.png", 2)])
    with pytest.raises(DataError, match=r"val\.csv line 2: label '2' is none of the classes sad, happy"):
        read_manifest(manifests)


def test_csv_that_is_no_text(manifests: Path) -> None:
    (manifests / "train.csv").write_bytes(b"\xff\xfe\x00filepath")
    with pytest.raises(DataError, match=r"train\.csv cannot be read as a CSV file"):
        read_manifest(manifests)
