from pathlib import Path

import pytest

from emotion_lightning.data.manifest import read_manifest
from emotion_lightning.errors import DataError
from tests.data.files import face


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
