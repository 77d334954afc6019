import json
from collections.abc import Callable
from pathlib import Path

import pytest

from emotion_lightning.data.sources.layouts import FORMATS, Format, read_layout
from emotion_lightning.data.sources.manifest import read_manifest, write_splits
from emotion_lightning.errors import DataError
from tests.data.files import affectnet, ckplus, emoset, expw, face, faces, jaffe, kdef, rafdb, table, yolo


def test_missing_root(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone does not exist: give the folder"):
        read_manifest(tmp_path / "gone")


def test_root_without_images_names_the_layouts(tmp_path: Path) -> None:
    face(tmp_path / "loose.png")
    with pytest.raises(DataError, match=r"holds no images in a layout that is understood.*fer2013\.csv"):
        read_manifest(tmp_path)


def test_archive_as_root(tmp_path: Path) -> None:
    (tmp_path / "fer.zip").touch()
    with pytest.raises(DataError, match=r"fer\.zip is neither a folder nor a CSV file.*unpacked"):
        read_manifest(tmp_path / "fer.zip")


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    faces(tmp_path / "data" / "angry", 12)
    faces(tmp_path / "data" / "happy", 12, 100)
    return tmp_path / "data"


def test_files_of_familiar_names_do_not_make_class_folders_something_else(flat: Path) -> None:
    (flat / "train.json").write_text(json.dumps([{"image": "angry/0.png", "label": 3}]))
    (flat / "info.json").write_text("{}")
    for name in ("training.csv", "validation.csv", "train_labels.csv", "labels.csv"):
        table(flat / name, "image,label", [("angry/0.png", 3)])
    assert read_layout(flat).layout == "folder tree without splits"
    assert read_layout(flat).class_names == ("angry", "happy")


def test_numbers_of_unknown_origin_are_refused_and_mixed_names_are_not(flat: Path) -> None:
    (flat / "happy").rename(flat / "0")
    assert read_layout(flat).class_names == ("0", "angry")
    (flat / "angry").rename(flat / "6")
    with pytest.raises(DataError, match=r"numbers \(0, 6\), whose meaning cannot be seen: `layout=rafdb` or aff"):
        read_layout(flat)


@pytest.mark.parametrize(
    ("format", "expected"),
    [
        *(("rafdb", "no RAF-DB"), ("emoset", "no EmoSet"), ("fer2013", "no F"), ("expw", "no ExpW")),
        *(("kdef", "no KDEF: no image is named like"), ("jaffe", "no JAFFE"), ("yolo", "no YOLO data")),
    ],
)
def test_a_wrong_format_says_what_it_expected(flat: Path, format: Format, expected: str) -> None:
    with pytest.raises(DataError, match=f"{flat} is {expected}.*`layout=auto` finds"):
        read_layout(flat, format)


def test_a_format_of_folders_is_not_read_from_a_file(flat: Path) -> None:
    file = table(flat / "x.csv", "a,b", [(1, 2)])
    with pytest.raises(DataError, match=r"x\.csv is a file, and `layout=rafdb` is kept in a folder"):
        read_layout(file, "rafdb")
    with pytest.raises(DataError, match=r"data has no train\.csv: write one"):
        read_layout(flat, "csv")


def test_a_given_format_overrides_what_is_seen(flat: Path) -> None:
    table(flat / "train.csv", "filepath,label", [("angry/0.png", "angry"), ("happy/100.png", "happy")])
    assert len(read_layout(flat).rows) == 2
    assert len(read_layout(flat, "tree").rows) == 24


def test_fer2013_folders_go_by_its_name_too(tmp_path: Path) -> None:
    for number, name in enumerate(("happy", "neutral")):
        face(tmp_path / "train" / name / "Training_1.png", number)
        face(tmp_path / "test" / name / "PublicTest_2.png", number + 10)
    assert [row.split for row in read_layout(tmp_path, "fer2013").rows] == ["train", "train", "val", "val"]
    face(tmp_path / "train" / "happy" / "mine.png", 3)
    with pytest.raises(DataError, match=r"is no FER2013: expected fer2013\.csv"):
        read_layout(tmp_path, "fer2013")


@pytest.mark.parametrize(
    ("format", "make"),
    [
        ("rafdb", lambda root: rafdb(root, "EmoLabel")),
        ("affectnet", affectnet),
        ("ckplus", ckplus),
        ("emoset", emoset),
        ("expw", expw),
        ("kdef", kdef),
        ("jaffe", jaffe),
        ("yolo", yolo),
    ],
)
def test_splits_of_every_format_can_be_given_back(
    tmp_path: Path, format: Format, make: Callable[[Path], object]
) -> None:
    assert format in FORMATS
    make(tmp_path / "data" / "unpacked")
    found, given = read_manifest(tmp_path / "data"), read_manifest(tmp_path / "data", layout=format)
    assert given == found
    write_splits(found, tmp_path / "splits.csv")
    again = read_manifest(tmp_path / "data", seed=7, splits_file=tmp_path / "splits.csv")
    for field in ("class_names", "names", "labels", "splits", "groups"):
        assert getattr(again, field) == getattr(found, field)
