from pathlib import Path

import pytest

from emotion_lightning.data.sources.manifest import read_manifest
from emotion_lightning.errors import DataError
from tests.data.files import ckplus, face


def test_subjects_stay_in_one_split(tmp_path: Path) -> None:
    ckplus(tmp_path / "CK+48")
    manifest = read_manifest(tmp_path)
    assert manifest.describe() == (
        "CK+48, 3 classes (anger, contempt, fear), 72 train (cut), 18 val (cut), 18 test (cut); 12 groups kept whole"
    )
    assert manifest.groups is not None
    assert manifest.groups[manifest.names.index("CK+48/fear/S010_002_00000016.png")] == "S010"
    for subject in set(manifest.groups):
        splits = {split for split, group in zip(manifest.splits, manifest.groups, strict=True) if group == subject}
        assert len(splits) == 1


def test_given_splits_keep_the_subjects_for_all_to_see(tmp_path: Path) -> None:
    for split in ("train", "test"):
        ckplus(tmp_path / split)
    manifest = read_manifest(tmp_path)
    assert manifest.layout == "CK+48"
    assert manifest.groups is not None
    assert len(set(manifest.groups)) == 12


def test_any_other_name_makes_it_an_ordinary_tree(tmp_path: Path) -> None:
    face(ckplus(tmp_path) / "fear" / "mine.png", 9999)
    manifest = read_manifest(tmp_path)
    assert (manifest.layout, manifest.groups) == ("folder tree without splits", None)
    with pytest.raises(DataError, match=r"fear/mine\.png is not named as CK\+48's images are"):
        read_manifest(tmp_path, layout="ckplus")
