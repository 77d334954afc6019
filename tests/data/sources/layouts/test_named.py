from collections import defaultdict
from pathlib import Path

import pytest

from emotion_lightning.data.sources.folder import unread_message
from emotion_lightning.data.sources.manifest import Manifest, read_manifest
from emotion_lightning.errors import DataError
from tests.data.files import face, faces, jaffe, kdef

SEVEN = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")


def label(manifest: Manifest, file: str) -> str:
    (index,) = (place for place, name in enumerate(manifest.names) if name.endswith(file))
    return manifest.class_names[manifest.labels[index]]


def splits_by_group(manifest: Manifest) -> dict[str | None, set[str]]:
    found = defaultdict(set)
    for group, split in zip(manifest.groups or (), manifest.splits, strict=True):
        found[group].add(split)
    return found


@pytest.mark.parametrize("lower", [False, True])
@pytest.mark.parametrize("folders", [False, True])
@pytest.mark.parametrize("wrapper", ["", "KDEF", "KDEF_and_AKDEF/KDEF"])
def test_kdef_is_read_by_its_names_and_a_person_stays_whole(
    tmp_path: Path, wrapper: str, folders: bool, lower: bool
) -> None:
    kdef(tmp_path / wrapper, folders=folders, lower=lower)
    manifest = read_manifest(tmp_path)
    assert (manifest.layout, manifest.class_names) == ("KDEF", SEVEN)
    assert (len(manifest), manifest.cut, manifest.unread) == (140, ("train", "val", "test"), ())
    emotions = ("AF fear", "AN angry", "DI disgust", "HA happy", "NE neutral", "SA sad", "SU surprise")
    for code, emotion in map(str.split, emotions):
        name = f"AF01{code}S.JPG"
        assert label(manifest, name.lower() if lower else name) == emotion
    groups = splits_by_group(manifest)
    assert groups.keys() == {f"{sex}{number:02d}" for sex in "FM" for number in range(1, 6)}  # sessions A and B alike
    assert all(len(splits) == 1 for splits in groups.values())


@pytest.mark.parametrize("name", ["AM31H.JPG", "AF99ANS.JPG", "CF01ANS.JPG", "AF01XXS.JPG", "AF01AN.JPG", "aver.jpg"])
def test_names_that_are_not_kdefs_are_said(tmp_path: Path, name: str) -> None:
    face(kdef(tmp_path) / "AF01" / name, 5000)
    manifest = read_manifest(tmp_path)
    assert len(manifest) == 140
    assert unread_message(manifest.unread) == f"not read: 1 image (AF01/{name})"


def test_images_in_splits_and_outside_are_not_mixed(tmp_path: Path) -> None:
    kdef(tmp_path)
    (tmp_path / "test").mkdir()
    (tmp_path / "AF01").rename(tmp_path / "test" / "AF01")
    with pytest.raises(DataError, match=r"such as test/AF01/\S+, and others that are in none, such as A"):
        read_manifest(tmp_path)


def test_the_averaged_faces_of_kdef_are_said(tmp_path: Path) -> None:
    faces(kdef(tmp_path / "KDEF").parent / "AKDEF", 30, 3000)
    manifest = read_manifest(tmp_path)
    assert (manifest.layout, len(manifest)) == ("KDEF", 140)
    assert unread_message(manifest.unread) == "not read: 30 images (AKDEF/3000.png, …)"


def test_copies_and_splits_of_kdef(tmp_path: Path) -> None:
    kdef(tmp_path / "train", people=6)
    kdef(tmp_path / "val", people=2)
    for number, name in enumerate(("AF01ANS_flip.JPG", "AF01ANS (1).JPG", "af01ans.copy.jpeg", "AM01SUHL.png")):
        face(tmp_path / "val" / name, 7000 + number)
    manifest = read_manifest(tmp_path)
    assert manifest.describe().startswith(f"KDEF, 7 classes ({', '.join(SEVEN)}), 84 train, 32 val")
    assert label(manifest, "val/AM01SUHL.png") == "surprise"


def test_emotions_of_folders_win_over_names_and_the_subject_is_kept(tmp_path: Path) -> None:
    kdef(tmp_path / "made", folders=False)
    codes = {"AF": "afraid", "AN": "anger", "DI": "disgust", "HA": "happy", "NE": "neutral", "SA": "sad", "SU": "happy"}
    for image in sorted((tmp_path / "made").iterdir()):
        folder = tmp_path / "data" / codes[image.name[4:6]]
        folder.mkdir(parents=True, exist_ok=True)
        image.rename(folder / image.name)
    faces(tmp_path / "data" / "happy", 5, 4000)
    manifest = read_manifest(tmp_path / "data")
    assert manifest.layout == "KDEF in folder tree without splits"
    assert label(manifest, "AF01SUS.JPG") == "happy"
    groups = splits_by_group(manifest)
    groups.pop(None)
    assert len(groups) == 10
    assert all(len(splits) == 1 for splits in groups.values())


@pytest.mark.parametrize("suffix", [".tiff", ".TIF", ".tiff.bmp", ".png", "_aug.jpg"])
@pytest.mark.parametrize("wrapper", ["", "jaffe", "jaffedbase/jaffe"])
def test_jaffe(tmp_path: Path, suffix: str, wrapper: str) -> None:
    jaffe(tmp_path / wrapper, suffix)
    (tmp_path / wrapper / "README_FIRST.txt").touch()
    face(tmp_path / wrapper / "contact sheet.png", 999)
    manifest = read_manifest(tmp_path)
    assert (manifest.layout, manifest.class_names, len(manifest)) == ("JAFFE", SEVEN, 210)
    assert label(manifest, f"KA.FE1.7{suffix}") == "fear"
    assert unread_message(manifest.unread) == f"not read: 1 image ({f'{wrapper}/contact sheet.png'.lstrip('/')})"
    groups = splits_by_group(manifest)
    assert groups.keys() == {"KA", "KL", "KM", "KR", "MK", "NA", "NM", "TM", "UY", "YM"}
    assert all(len(splits) == 1 for splits in groups.values())


def test_a_few_such_names_do_not_make_data_of_another_kind_kdef(tmp_path: Path) -> None:
    faces(tmp_path / "a", 9)
    faces(tmp_path / "b", 9, 100)
    for number in range(5):
        face(tmp_path / "a" / f"AF0{number + 1}ANS.JPG", 200 + number)
    assert read_manifest(tmp_path).class_names == ("a", "b")
    assert read_manifest(tmp_path, layout="tree").groups is None
    with pytest.raises(DataError, match="no JAFFE: no image is named like KA"):
        read_manifest(tmp_path, layout="jaffe")
