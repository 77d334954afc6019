from pathlib import Path

import pytest

from emotion_lightning.data.sources.manifest import read_manifest
from emotion_lightning.errors import DataError
from tests.data.files import face, rafdb, table

NAMES = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")


def shared(base: Path, tables: Path | None = None, form: str = "{}_aligned.jpg") -> Path:
    """The re-share's layout: folders numbered 1 to 7, and tables beside them."""
    for split, count in {"train": 7, "test": 2}.items():
        rows = []
        for number in range(7 * count):
            name = form.format(f"{split}_{number:05d}")
            face(base / split / str(number % 7 + 1) / name, 100 * number + (split == "test"))
            rows.append((name, number % 7 + 1))
        if tables:
            table(tables / f"{split}_labels.csv", "image,label", rows)
    return base


@pytest.mark.parametrize(
    ("base", "list_folder", "image_folder"),
    [
        ("", "", "aligned"),
        ("", "EmoLabel", "Image/aligned"),
        ("basic", "EmoLabel", "Image/aligned"),
        ("RAF-DB/basic", "EmoLabel", "Image/aligned"),
    ],
)
def test_official_archive(tmp_path: Path, base: str, list_folder: str, image_folder: str) -> None:
    rafdb(tmp_path / base, list_folder, image_folder)
    if base:
        (tmp_path / base).parent.joinpath("compound").mkdir()
    manifest = read_manifest(tmp_path)
    assert manifest.describe() == f"RAF-DB, 7 classes ({', '.join(NAMES)}), 42 train, 7 val (cut), 14 test"
    assert manifest.class_names == NAMES
    place = next(i for i, name in enumerate(manifest.names) if name.endswith("/train_00004_aligned.jpg"))
    assert manifest.names[place].removeprefix(base).strip("/") == f"{image_folder}/train_00004_aligned.jpg"
    assert NAMES[manifest.labels[place]] == "sadness"  # 4 % 7 + 1
    assert manifest.counts("test") == dict.fromkeys(NAMES, 2)
    assert manifest.paths is not None
    assert all(path.is_file() for path in manifest.paths)


@pytest.mark.parametrize(("with_tables", "form"), [(True, "{}.jpg"), (False, "{}_aligned.jpg")])
def test_numbered_folders_are_known_by_their_tables_or_names(tmp_path: Path, with_tables: bool, form: str) -> None:
    shared(tmp_path / "DATASET", tmp_path if with_tables else None, form)
    manifest = read_manifest(tmp_path)
    assert manifest.describe() == f"RAF-DB, 7 classes ({', '.join(NAMES)}), 42 train, 7 val (cut), 14 test"
    assert manifest.class_names == NAMES
    first = next(i for i, name in enumerate(manifest.names) if name.startswith("DATASET/test/6/"))
    assert NAMES[manifest.labels[first]] == "anger"


def test_numbered_folders_of_unknown_origin_are_read_when_the_format_is_given(tmp_path: Path) -> None:
    shared(tmp_path, None, "{}.jpg")
    with pytest.raises(DataError, match=r"folders are numbers.*`layout=rafdb` or affectnet decides"):
        read_manifest(tmp_path)
    assert read_manifest(tmp_path, layout="rafdb").class_names == NAMES
    assert read_manifest(tmp_path, layout="tree").class_names == tuple("1234567")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("train_00001.jpg 8", r"list_patition_label\.txt line 1: 'train_00001\.jpg 8' is no name and id"),
        ("train_00001.jpg", "line 1: 'train_00001.jpg' is no name"),
        ("../train_00001.jpg 5", "line 1: .* is no name and id"),
        ("train_99999.jpg 5", r"1 missing file: line 1 'train_99999_aligned\.jpg'"),
        ("", "list_patition_label.txt has no lines"),
    ],
)
def test_bad_lines_are_named(tmp_path: Path, line: str, message: str) -> None:
    rafdb(tmp_path, "EmoLabel", each=1).write_text(line)
    with pytest.raises(DataError, match=message):
        read_manifest(tmp_path)


def test_packed_images_and_absent_data_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is no RAF-DB: expected list_patition_label\.txt"):
        read_manifest(tmp_path, layout="rafdb")
    (tmp_path / "EmoLabel").mkdir()
    (tmp_path / "EmoLabel" / "list_patition_label.txt").write_text("train_00001.jpg 5\n")
    with pytest.raises(DataError, match=r"no folder Image/aligned beside .*: unpack aligned\.zip"):
        read_manifest(tmp_path)


def test_tables_that_contradict_the_folders_are_an_error(tmp_path: Path) -> None:
    shared(tmp_path / "DATASET", tmp_path)
    table(tmp_path / "test_labels.csv", "image,label", [("test_00000_aligned.jpg", 3)])
    with pytest.raises(
        DataError, match=r"line 2: test_00000_aligned\.jpg has label '3' but is in a folder of surprise"
    ):
        read_manifest(tmp_path)
    table(tmp_path / "test_labels.csv", "image,label", [("test_77777_aligned.jpg", 3)])
    with pytest.raises(DataError, match=r"test_labels\.csv names 1 missing file: line 2 'test_77777_aligned"):
        read_manifest(tmp_path)
