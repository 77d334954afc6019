from pathlib import Path

import numpy as np
import pytest

from emotion_lightning.data.sources.layouts.affectnet import CLASSES
from emotion_lightning.data.sources.manifest import Manifest, read_manifest, write_splits
from emotion_lightning.errors import DataError
from tests.data.files import AFFECTNET_HEADER, affectnet, affectnet_row, face, faces, table

NAMES = tuple(CLASSES.values())


def emotion(manifest: Manifest, name: str) -> str:
    return manifest.class_names[manifest.labels[manifest.names.index(name)]]


@pytest.mark.parametrize(
    ("lists", "images"),
    [
        ("", ""),
        ("", "Manually_Annotated_Images"),
        ("Manually_Annotated_file_lists", "Manually_Annotated/Manually_Annotated_Images"),
    ],
)
def test_official_tables(tmp_path: Path, lists: str, images: str) -> None:
    affectnet(tmp_path, lists, images)
    manifest = read_manifest(tmp_path)
    assert manifest.describe() == (
        f"AffectNet, 8 classes ({', '.join(NAMES)}), 8 train, 8 val; left out 2 none, 2 uncertain, 4 non-face"
    )
    assert manifest.class_names == NAMES
    assert emotion(manifest, f"{images}/1/6.jpg".lstrip("/")) == "anger"  # 6 of the official ids, 0 of the alphabet


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (affectnet_row("0/0.jpg", 11), r"training\.csv line 2: label '11' is none of AffectNet's \(0 neutral, 1 happy"),
        (affectnet_row("0/0.jpg", ""), r"training\.csv line 2: label '' is none of"),
        (affectnet_row("0/gone.jpg", 1), r"training\.csv names 1 missing file: line 2 '0/gone\.jpg'"),
        (affectnet_row("../0.jpg", 1), r"training\.csv line 2: '\.\./0\.jpg' is no path below"),
        (affectnet_row("/etc/0.jpg", 1), "line 2: '/etc/0.jpg' is no path below"),
        (("0/0.jpg", 1), "line 2 has 2 values, expected 9"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, bad: tuple[object, ...], message: str) -> None:
    table(affectnet(tmp_path), AFFECTNET_HEADER, [bad, affectnet_row("0/1.jpg", 1)])
    with pytest.raises(DataError, match=message):
        read_manifest(tmp_path)


def labels(base: Path, column: str, values: tuple[str, ...]) -> Path:
    rows = []
    for place, value in enumerate(values):
        for number in range(4):
            name = f"faces/image{place}{number:06d}.png"
            face(base / name, 100 * place + number)
            rows.append((number, name, value, 0.5))
    return table(base / "labels.csv", f",{column},label,relFCs", rows)


def test_shared_table_of_names_or_ids(tmp_path: Path) -> None:
    labels(tmp_path, "pth", ("contempt", "Happiness", "0"))
    manifest = read_manifest(tmp_path)
    assert manifest.layout == "AffectNet"
    assert manifest.class_names == ("neutral", "happy", "contempt")
    assert manifest.cut == ("train", "val", "test")
    assert emotion(manifest, "faces/image2000000.png") == "neutral"


def test_a_table_of_images_is_affectnets_only_with_its_very_classes(tmp_path: Path) -> None:
    labels(tmp_path / "whole", "image", NAMES)
    assert read_manifest(tmp_path / "whole").layout == "AffectNet"
    labels(tmp_path / "numbers", "image", ("3", "5"))
    with pytest.raises(DataError, match=r"labels\.csv may be AffectNet's or not.*`layout=affectnet`"):
        read_manifest(tmp_path / "numbers")
    assert read_manifest(tmp_path / "numbers", layout="affectnet").class_names == ("surprise", "disgust")


def test_a_table_beside_class_folders_does_not_make_them_affectnets(tmp_path: Path) -> None:
    faces(tmp_path / "happy", 9)
    faces(tmp_path / "sad", 9, 100)
    table(tmp_path / "labels.csv", "image,label", [("happy/0.png", "happy")])
    assert read_manifest(tmp_path).layout == "folder tree without splits"


@pytest.fixture
def annotated(tmp_path: Path) -> Path:
    """Annotation files, whose ids are text, beside images."""
    for split, count in {"train_set": 16, "val_set": 8}.items():
        (tmp_path / split / "annotations").mkdir(parents=True)
        for number in range(count):
            face(tmp_path / split / "images" / f"{number}.jpg", number)
            np.save(tmp_path / split / "annotations" / f"{number}_exp.npy", np.array(str(number % 8)))
            np.save(tmp_path / split / "annotations" / f"{number}_aro.npy", np.array("0.5"))
    return tmp_path


def test_annotation_files(annotated: Path) -> None:
    np.save(annotated / "train_set" / "annotations" / "9_exp.npy", np.array("9"))
    manifest = read_manifest(annotated)
    assert manifest.describe() == f"AffectNet, 8 classes ({', '.join(NAMES)}), 15 train, 8 val; left out 1 uncertain"
    assert emotion(manifest, "val_set/images/7.jpg") == "contempt"


def test_faults_of_annotation_files(annotated: Path) -> None:
    folder = annotated / "train_set"
    (folder / "annotations" / "3_exp.npy").write_bytes(b"")
    with pytest.raises(DataError, match=r"3_exp\.npy holds no expression"):
        read_manifest(annotated)
    (folder / "annotations" / "3_exp.npy").unlink()
    with pytest.raises(DataError, match=r"images names 1 missing file: 3_exp\.npy"):
        read_manifest(annotated)
    (folder / "images" / "3.jpg").unlink()
    (folder / "images" / "4.jpg").unlink()
    with pytest.raises(DataError, match=r"annotations names 1 missing file: the image of 4_exp\.npy"):
        read_manifest(annotated)


def test_class_folders_are_ids_or_names_when_the_format_is_given(tmp_path: Path) -> None:
    for place, name in enumerate(("0", "1", "Anger", "7")):
        faces(tmp_path / "train" / name, 2, 100 * place)
        faces(tmp_path / "val" / name, 1, 100 * place + 50)
    manifest = read_manifest(tmp_path, layout="affectnet")
    assert manifest.describe() == "AffectNet, 4 classes (neutral, happy, anger, contempt), 8 train, 4 val"
    assert manifest.class_names == ("neutral", "happy", "anger", "contempt")
    assert emotion(manifest, "val/7/350.png") == "contempt"
    write_splits(manifest, tmp_path / "splits.csv")
    again = read_manifest(tmp_path, splits_file=tmp_path / "splits.csv", layout="affectnet")
    assert (again.class_names, again.labels) == (manifest.class_names, manifest.labels)
    faces(tmp_path / "train" / "6", 1, 900)
    with pytest.raises(DataError, match="class folders 6 and Anger mean the same emotion"):
        read_manifest(tmp_path, layout="affectnet")
    (tmp_path / "train" / "6").rename(tmp_path / "train" / "8")
    with pytest.raises(DataError, match=r"class folder '8' is none of AffectNet's \(0 neutral"):
        read_manifest(tmp_path, layout="affectnet")
