import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from emotion_lightning.data.sources.manifest import read_manifest
from emotion_lightning.errors import DataError
from tests.data.files import empty, face, faces, remove


def test_tree_with_splits(tree: Path) -> None:
    manifest = read_manifest(tree)
    assert manifest.describe() == "folder tree with splits, 2 classes (angry, happy), 8 train, 4 val, 2 test"
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
    assert manifest.describe() == "folder tree with splits, 2 classes (Happy, sad), 3 train, 3 val"
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
