import csv
import json
import pickle
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from emotion_lightning.data.images import find_unreadable
from emotion_lightning.data.labels import FER2013_CLASSES
from emotion_lightning.data.manifest import Manifest, read_manifest, write_splits
from emotion_lightning.errors import DataError

PIXELS = 48 * 48


def face(path: Path, number: int = 0) -> None:
    """An image whose content is ``number``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (2, 2), (number % 256, number // 256, 7)).save(path)


def faces(folder: Path, count: int, start: int = 0) -> None:
    for number in range(start, start + count):
        face(folder / f"{number}.png", number)


def table(file: Path, header: str, rows: Iterable[Iterable[object]]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="") as stream:
        stream.write(header + "\n")
        csv.writer(stream).writerows(rows)
    return file


def pixels(value: int = 0) -> str:
    return " ".join([str(value)] * PIXELS)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder tree with all three splits of two classes."""
    for part, (split, count) in enumerate({"train": 4, "val": 2, "test": 1}.items()):
        faces(tmp_path / split / "happy", count, part * 100)
        faces(tmp_path / split / "angry", count, part * 100 + 50)
    return tmp_path


@pytest.fixture
def manifests(tmp_path: Path) -> Path:
    """CSV manifests without a label map."""
    faces(tmp_path / "faces", 6)
    for split, numbers in {"train": (0, 1, 2, 3), "val": (4, 5)}.items():
        rows = [(f"faces/{n}.png", ("sad", "happy")[n % 2]) for n in numbers]
        table(tmp_path / f"{split}.csv", "filepath,label", rows)
    return tmp_path


def fer_rows() -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = [(label, pixels(label), "Training") for label in range(7)]
    return [*rows, (3, pixels(100), "PublicTest"), (6, pixels(255), "PrivateTest")]


# Folder trees


def test_tree_with_splits(tree: Path) -> None:
    manifest = read_manifest(tree)
    assert manifest.describe() == "folder tree with splits, 2 classes, 8 train, 4 val, 2 test"
    assert manifest.class_names == ("angry", "happy")
    assert manifest.cut == ()
    assert manifest.root == tree
    assert manifest.counts("val") == {"angry": 2, "happy": 2}
    first = manifest.indices("val")[0]
    assert manifest.names[first] == "val/angry/150.png"
    assert manifest.read(first).getpixel((0, 0)) == (150, 0, 7)
    assert manifest.paths is not None
    assert manifest.paths[first] == tree / "val/angry/150.png"
    assert len(manifest) == 14


def test_split_names_suffixes_nesting_and_litter(tmp_path: Path) -> None:
    for split in ("Train", "VALIDATION"):
        face(tmp_path / split / "Happy" / "a.JPG")
        face(tmp_path / split / "Happy" / "session 1" / "deep" / "b.Png", 1)
        face(tmp_path / split / "sad" / "c.webp", 2)
        face(tmp_path / split / "sad" / "._c.jpg", 3)
        face(tmp_path / split / ".thumbs" / "d.jpg", 4)
        face(tmp_path / split / "__MACOSX" / "e.jpg", 5)
        (tmp_path / split / "sad" / "notes.txt").write_text("no image")
    manifest = read_manifest(tmp_path)
    assert manifest.describe() == "folder tree with splits, 2 classes, 3 train, 3 val"
    assert "Train/Happy/session 1/deep/b.Png" in manifest.names


def test_aliases_match_between_splits_and_train_spells(tmp_path: Path) -> None:
    faces(tmp_path / "train" / "angry", 2)
    faces(tmp_path / "train" / "Joy", 2)
    faces(tmp_path / "valid" / "anger", 1)
    faces(tmp_path / "valid" / "happiness", 3)
    manifest = read_manifest(tmp_path)
    assert manifest.class_names == ("angry", "Joy")
    assert manifest.counts("val") == {"angry": 1, "Joy": 3}


def test_wrapping_folder_is_looked_through(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outer = tmp_path_factory.mktemp("outer")
    shutil.copytree(tree, outer / "fer2013")
    face(outer / "__MACOSX" / "train" / "x.png")
    manifest = read_manifest(outer)
    assert manifest.describe() == read_manifest(tree).describe()
    assert manifest.names[0] == "fer2013/train/angry/50.png"
    assert manifest.read(0).size == (2, 2)


def test_validation_is_cut_from_train_when_only_test_is_given(tmp_path: Path) -> None:
    for label, name in enumerate(("happy", "sad")):
        faces(tmp_path / "train" / name, 40, label * 1000)
        faces(tmp_path / "test" / name, 5, label * 1000 + 500)
        shutil.copy(tmp_path / "train" / name / f"{label * 1000}.png", tmp_path / "train" / name / "copy.png")
    manifest = read_manifest(tmp_path)
    assert manifest.cut == ("val",)
    assert manifest.describe() == "folder tree with splits, 2 classes, 70 train, 12 val (cut), 10 test"
    assert manifest.counts("val") == {"happy": 6, "sad": 6}
    split = dict(zip(manifest.names, manifest.splits, strict=True))
    for label, name in enumerate(("happy", "sad")):
        assert split[f"train/{name}/copy.png"] == split[f"train/{name}/{label * 1000}.png"]


def test_no_test_set_is_cut_from_train_and_validation(tmp_path: Path) -> None:
    for split in ("train", "val"):
        faces(tmp_path / split / "happy", 10)
        faces(tmp_path / split / "sad", 10, 100)
    manifest = read_manifest(tmp_path)
    assert (manifest.indices("test"), manifest.cut) == ([], ())


def test_fer2013_folders_as_shared_are_told_apart_by_prefix(tmp_path: Path) -> None:
    for label, name in enumerate(("happy", "neutral")):
        face(tmp_path / "train" / name / "Training_1.jpg", label)
        face(tmp_path / "test" / name / "PublicTest_2.jpg", label + 10)
        face(tmp_path / "test" / name / "PrivateTest_3.jpg", label + 20)
        face(tmp_path / "test" / name / "PrivateTest_4.jpg", label + 30)
    manifest = read_manifest(tmp_path)
    assert manifest.cut == ()
    assert manifest.layout == "FER2013 folders, test told apart by prefix"
    assert {manifest.names[i] for i in manifest.indices("val")} == {
        "test/happy/PublicTest_2.jpg",
        "test/neutral/PublicTest_2.jpg",
    }
    assert manifest.counts("test") == {"happy": 2, "neutral": 2}


def test_flat_tree_is_cut_in_three_with_copies_together(tmp_path: Path) -> None:
    faces(tmp_path / "happy", 100)
    faces(tmp_path / "sad", 40, 1000)
    for number in range(10):  # the same faces again, under the other label
        face(tmp_path / "sad" / f"copy{number}.png", number)
    manifest = read_manifest(tmp_path)
    assert manifest.cut == ("train", "val", "test")
    assert manifest.counts("test") == {"happy": 15, "sad": 7}
    split = dict(zip(manifest.names, manifest.splits, strict=True))
    assert all(split[f"happy/{number}.png"] == split[f"sad/copy{number}.png"] for number in range(10))


def test_seed_decides_the_cut_and_the_listing_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    faces(tmp_path / "happy", 30)
    faces(tmp_path / "sad", 30, 100)
    manifest = read_manifest(tmp_path, seed=1)
    assert read_manifest(tmp_path, seed=2).splits != manifest.splits
    listed = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda folder: iter(sorted(listed(folder), reverse=True)))
    again = read_manifest(tmp_path, seed=1)
    assert (again.splits, again.fingerprint()) == (manifest.splits, manifest.fingerprint())


# CSV manifests


def test_csv_manifests_without_a_map_sort_the_names(manifests: Path) -> None:
    manifest = read_manifest(manifests)
    assert manifest.describe() == "CSV manifests, 2 classes, 4 train, 2 val"
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


# FER2013's CSV


@pytest.mark.parametrize(
    ("name", "header", "order", "inside"),
    [
        ("fer2013.csv", "emotion,pixels,Usage", (0, 1, 2), True),
        ("icml_face_data.csv", "emotion, Usage, pixels", (0, 2, 1), True),
        ("my copy.csv", "pixels,Usage,emotion", (1, 2, 0), False),
    ],
)
def test_fer2013_csv(tmp_path: Path, name: str, header: str, order: tuple[int, ...], inside: bool) -> None:
    file = table(tmp_path / name, header, [[row[place] for place in order] for row in fer_rows()])
    manifest = read_manifest(tmp_path if inside else file)
    assert manifest.class_names == FER2013_CLASSES
    assert manifest.describe() == f"pixels in {name}, 7 classes, 7 train, 1 val, 1 test"
    assert manifest.names[0] == f"{name}:2"
    assert manifest.labels == (*range(7), 3, 6)
    assert manifest.paths is None
    image = pickle.loads(pickle.dumps(manifest.read))(8)
    assert (image.mode, image.size, image.getpixel((47, 47))) == ("RGB", (48, 48), (255, 255, 255))


def test_fer2013_csv_wins_over_the_challenges_train_csv(tmp_path: Path) -> None:
    table(tmp_path / "fer2013.csv", "emotion,pixels,Usage", fer_rows())
    table(tmp_path / "train.csv", "emotion,pixels", [(0, pixels())])
    assert read_manifest(tmp_path).layout == "pixels in fer2013.csv"


def test_fer2013_csv_keeps_pixel_order(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 256, PIXELS)
    rows = [(0, " ".join(map(str, values)), "Training"), *fer_rows()[1:]]
    table(tmp_path / "fer2013.csv", "emotion,pixels,Usage", rows)
    assert np.array_equal(np.asarray(read_manifest(tmp_path).read(0))[..., 1], values.reshape(48, 48))


def test_copies_in_pixel_rows_stay_together(tmp_path: Path) -> None:
    rows = [(label, pixels(label * 30 + n // 2), "Training") for label in range(7) for n in range(40)]
    table(tmp_path / "fer2013.csv", "emotion,pixels,Usage", rows)
    manifest = read_manifest(tmp_path)
    assert manifest.cut == ("val",)
    assert manifest.splits[0::2] == manifest.splits[1::2]
    assert all(count == 6 for count in manifest.counts("val").values())


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ((0, "1 2 3", "Training"), r"fer2013\.csv line 3 has 3 pixels, expected 2,304"),
        ((0, pixels()[:-1] + "256", "Training"), r"line 3 has a pixel of 256"),
        ((0, pixels()[:-1] + "9" * 40, "Training"), r"line 3 has a pixel of \d+, above 255"),
        ((0, "-1 " + pixels(), "Training"), "line 3: its pixels are not whole numbers"),
        ((0, "", "Training"), "line 3: its pixels are not whole numbers"),
        ((7, pixels(), "Training"), "line 3: emotion '7' is no number from 0 to 6"),
        ((0, pixels(), "Testing"), "line 3: Usage 'Testing' is none of"),
        ((0, pixels()), "line 3 has 2 values, expected 3"),
    ],
)
def test_bad_pixel_row_is_named(tmp_path: Path, row: tuple[object, ...], message: str) -> None:
    table(tmp_path / "fer2013.csv", "emotion,pixels,Usage", [fer_rows()[0], row])
    with pytest.raises(DataError, match=message):
        read_manifest(tmp_path)


# Errors


def remove(*parts: str) -> Callable[[Path], None]:
    return lambda root: shutil.rmtree(root.joinpath(*parts))


def empty(*parts: str) -> Callable[[Path], None]:
    def act(root: Path) -> None:
        shutil.rmtree(root.joinpath(*parts), ignore_errors=True)
        root.joinpath(*parts).mkdir()

    return act


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (empty("train", "disgust"), r"class 'disgust' has no images in .*train: add some or remove the folder"),
        (empty("val"), "val has no images in class folders"),
        (empty("train"), "train has no images in class folders"),
        (remove("train"), "has test, val but no folder 'train'"),
        (remove("train", "angry"), "has one class only"),
        (lambda root: faces(root / "val" / "contempt", 1), "class 'contempt' is in val but not in train .*contempt/0"),
        (lambda root: faces(root / "train" / "Anger", 1), "train: classes 'Anger' and 'angry' mean the same emotion"),
        (lambda root: faces(root / "valid" / "angry", 1), "has both 'val' and 'valid': merge them or rename one"),
    ],
)
def test_faults_of_a_tree(tree: Path, spoil: Callable[[Path], None], message: str) -> None:
    spoil(tree)
    with pytest.raises(DataError, match=message) as caught:
        read_manifest(tree)
    assert str(tree) in str(caught.value)
    assert "\n" not in str(caught.value)


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


def test_flat_class_too_small_to_cut(tmp_path: Path) -> None:
    faces(tmp_path / "happy", 20)
    faces(tmp_path / "disgust", 2, 100)
    with pytest.raises(DataError, match="class 'disgust' has too few different images"):
        read_manifest(tmp_path)


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


# Classes of a checkpoint


def test_given_classes_set_the_order_and_the_data_spells(tree: Path) -> None:
    manifest = read_manifest(tree, class_names=("Joy", "anger"))
    assert manifest.class_names == ("happy", "angry")
    assert manifest.labels[0] == 1
    assert manifest.names[0].startswith("train/angry/")
    assert manifest.fingerprint() == read_manifest(tree).fingerprint()


def test_given_classes_that_differ_are_an_error(tree: Path) -> None:
    message = r"the checkpoint has classes happy, sad; .* has angry, happy \(missing: sad; extra: angry\)"
    with pytest.raises(DataError, match=message):
        read_manifest(tree, class_names=("happy", "sad"))


# Splits files and fingerprints


def test_splits_round_trip(tmp_path: Path) -> None:
    faces(tmp_path / "data" / "happy", 30)
    faces(tmp_path / "data" / "sad", 30, 100)
    manifest = read_manifest(tmp_path / "data", seed=5)
    write_splits(manifest, tmp_path / "splits.csv")
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["splits.csv"]
    faces(tmp_path / "data" / "happy", 5, 500)  # added later: not in the file, so left out
    again = read_manifest(tmp_path / "data", seed=6, splits_file=tmp_path / "splits.csv")
    for field in ("names", "class_names", "labels", "splits", "read"):
        assert getattr(again, field) == getattr(manifest, field)
    assert again.cut == ()
    assert again.fingerprint() == manifest.fingerprint()


def test_splits_round_trip_of_pixel_rows_and_label_maps(manifests: Path, tmp_path: Path) -> None:
    (manifests / "label_map.json").write_text('{"sad": 0, "happy": 1}')
    mapped = read_manifest(manifests)
    write_splits(mapped, tmp_path / "a.csv")
    assert read_manifest(manifests, splits_file=tmp_path / "a.csv").labels == mapped.labels

    table(tmp_path / "pixels" / "fer2013.csv", "emotion,pixels,Usage", fer_rows())
    whole = read_manifest(tmp_path / "pixels")
    file = tmp_path / "b.csv"
    write_splits(whole, file)
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join([lines[0], *lines[:0:-1]]))  # rows in another order
    again = read_manifest(tmp_path / "pixels", splits_file=file)
    assert again.labels == whole.labels[::-1]
    assert again.read(0).getpixel((0, 0)) == (255, 255, 255)
    assert again.fingerprint() == whole.fingerprint()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("train/happy/gone.png", "happy", "train")], "1 missing file: line 2 'train/happy/gone.png'"),
        ([("train/happy/0.png", "happy", "dev")], "line 2: split 'dev' is none of train, val, test"),
        ([("train/happy/0.png", "happy", "train")], "has no rows of split 'val'"),
    ],
)
def test_faults_of_a_splits_file(tree: Path, tmp_path: Path, rows: list[tuple[str, ...]], message: str) -> None:
    file = table(tmp_path / "splits.csv", "filepath,label,split", rows)
    with pytest.raises(DataError, match=message):
        read_manifest(tree, splits_file=file)
    with pytest.raises(DataError, match=r"none\.csv cannot be read as a CSV file"):
        read_manifest(tree, splits_file=tmp_path / "none.csv")


def test_failed_write_keeps_the_old_file(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tree / "splits.csv"
    file.write_text("old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(DataError, match=r"cannot write .*splits\.csv: No space left"):
        write_splits(read_manifest(tree), file)
    assert file.read_text() == "old"
    assert [path for path in tree.iterdir() if path.is_file()] == [file]


def test_fingerprint_ignores_order_and_notices_changes() -> None:
    def manifest(names: str, labels: tuple[int, ...], **splits: str) -> Manifest:
        given = tuple(splits.get(name, "train") for name in names)
        return Manifest("test", None, ("sad", "joy"), tuple(names), labels, given, Image.new)  # type: ignore[arg-type]

    reference = manifest("abc", (0, 1, 1)).fingerprint()
    assert manifest("cba", (1, 1, 0)).fingerprint() == reference
    assert manifest("abd", (0, 1, 1)).fingerprint() != reference
    assert manifest("abc", (0, 0, 1)).fingerprint() != reference
    assert manifest("abc", (0, 1, 1), c="val").fingerprint() != reference


def test_manifest_can_be_sent_to_workers(tree: Path) -> None:
    manifest = read_manifest(tree)
    assert pickle.loads(pickle.dumps(manifest)) == manifest
    assert find_unreadable(manifest.paths or (), progress=False) == {}
