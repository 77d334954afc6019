import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from emotion_lightning.data.audit.scan import scan
from emotion_lightning.data.images.decode import Files
from emotion_lightning.data.sources.manifest import Manifest, complete_splits, read, read_manifest, write_splits
from emotion_lightning.errors import DataError
from tests.data.files import affectnet, face, faces, fer_rows, pixels, rafdb, table

# Cuts


def test_validation_is_cut_from_train_when_only_test_is_given(tmp_path: Path) -> None:
    for label, name in enumerate(("happy", "sad")):
        faces(tmp_path / "train" / name, 40, label * 1000)
        faces(tmp_path / "test" / name, 5, label * 1000 + 500)
        shutil.copy(tmp_path / "train" / name / f"{label * 1000}.png", tmp_path / "train" / name / "copy.png")
    manifest = read_manifest(tmp_path)
    assert manifest.cut == ("val",)
    assert manifest.describe() == "folder tree with splits, 2 classes (happy, sad), 70 train, 12 val (cut), 10 test"
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


def test_flat_tree_is_cut_in_three_with_copies_together(tmp_path: Path) -> None:
    faces(tmp_path / "happy", 100)
    faces(tmp_path / "sad", 40, 1000)
    for number in range(10):  # the same faces again, under the other label
        face(tmp_path / "sad" / f"copy{number}.png", number)
    manifest = read_manifest(tmp_path)
    assert manifest.cut == ("train", "val", "test")
    assert manifest.counts("test") == {"happy": 15, "sad": 8}
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


def test_flat_class_too_small_to_cut(tmp_path: Path) -> None:
    faces(tmp_path / "happy", 20)
    faces(tmp_path / "disgust", 2, 100)
    with pytest.raises(DataError, match="class 'disgust' has too few different images"):
        read_manifest(tmp_path)


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
    "name",
    [
        *(" a.png", "a .png", "a,b.png", 'a"b.png', "a;b.png", "a\tb.png", "a\nb.png", "a\rb.png", "a\\b.png"),
        *("\udce9.png", "a\udcffb.png", "\ufeffa.png", "'a'.png", "#a.png", "happy;sad;a.png", "a_aug1.png"),
    ],
)
@pytest.mark.parametrize("folder", ["happy", " happy", "happy ", "joy;x"])
def test_splits_of_any_file_name_can_be_given_back(tmp_path: Path, name: str, folder: str) -> None:
    faces(tmp_path / "data" / folder, 9)
    faces(tmp_path / "data" / "sad", 9, 100)
    face(tmp_path / "data" / folder / name, 77)
    face(tmp_path / "data" / folder / f" {name.removesuffix('.png')} (1).png", 78)
    manifest = read_manifest(tmp_path / "data")
    write_splits(manifest, tmp_path / "splits.csv")
    again = read_manifest(tmp_path / "data", splits_file=tmp_path / "splits.csv")
    for field in ("names", "labels", "splits", "groups", "read"):
        assert getattr(again, field) == getattr(manifest, field)
    assert again.fingerprint() == manifest.fingerprint()


def test_a_class_whose_name_cannot_be_shown_is_refused(tmp_path: Path) -> None:
    faces(tmp_path / "happy", 9)
    faces(tmp_path / "col\udce8re", 9, 100)
    with pytest.raises(DataError, match=r"the class name 'col\\udce8re' is not UTF-8: rename it"):
        read_manifest(tmp_path)
    (tmp_path / "col\udce8re").rename(tmp_path / "sa\nd")
    with pytest.raises(DataError, match=r"the class name 'sa\\nd' has a line break, .*: rename it"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("train/happy/gone.png", "happy", "train")], "1 missing file: line 2 'train/happy/gone.png'"),
        ([("train/happy/0.png", "happy", "mine")], "line 2: split 'mine' is none of train, val, test"),
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
    assert isinstance(manifest.read, Files)
    assert set(scan(manifest.read, None, progress=False).reasons) == {None}


# Data that a model is only measured on


def only_private_test(root: Path) -> None:
    table(root / "fer2013.csv", "emotion,pixels,Usage", [(n, pixels(n), "PrivateTest") for n in (0, 3, 3)])


def only_validation_of_affectnet(root: Path) -> None:
    affectnet(root, images="Manually_Annotated_Images").unlink()


def only_val_and_test_tables(root: Path) -> None:
    faces(root / "images", 5)
    table(root / "val.csv", "filepath,label", [("images/0.png", "joy"), ("images/1.png", "calm")])
    table(root / "test.csv", "filepath,label", [("images/2.png", "anger"), ("images/3.png", "Happy")])


def only_test_lines_of_rafdb(root: Path) -> None:
    file = rafdb(root, "")
    file.write_text("".join(line for line in file.read_text().splitlines(True) if line.startswith("test")))


@pytest.mark.parametrize(
    ("make", "splits", "labels", "unknown"),
    [
        (only_private_test, {"val"}, [0, 1, 1], set()),
        (only_validation_of_affectnet, {"val"}, [0, 1], {"neutral", "sad", "surprise", "fear", "disgust", "contempt"}),
        (only_val_and_test_tables, {"val", "test"}, [0, 1, 1], {"calm"}),
        (only_test_lines_of_rafdb, {"val"}, [0, 0, 1, 1], {"surprise", "fear", "disgust", "sadness", "neutral"}),
    ],
)
def test_what_is_only_measured_needs_neither_a_training_split_nor_the_same_classes(
    tmp_path: Path, make: Callable[[Path], None], splits: set[str], labels: list[int], unknown: set[str]
) -> None:
    make(tmp_path)
    listing = read(tmp_path, class_names=("anger", "happiness", "bored"), training=False)
    manifest = complete_splits(listing, 1, whole="val")
    assert set(manifest.splits) == splits
    assert manifest.cut == ()
    assert sorted(manifest.labels) == labels
    assert set(manifest.unknown) == unknown
    assert manifest.class_names[2] == "bored"
    with pytest.raises(DataError, match="no folder 'train', or table or rows of it: add one, or measure"):
        read(tmp_path)
