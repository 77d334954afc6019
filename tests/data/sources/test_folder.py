"""Every file below a folder is read, or counted in one line."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from emotion_lightning.data.datamodule import EmotionDataModule
from emotion_lightning.data.sources.folder import find_images, unread_files, unread_message
from emotion_lightning.data.sources.manifest import read_manifest
from tests.data.files import face, faces, table


@pytest.mark.parametrize("suffix", ["jfif", "JPE", "tif", "TIFF", "dib"])
def test_images_of_every_suffix_are_read(tree: Path, suffix: str) -> None:
    formats = {"jfif": "JPEG", "jpe": "JPEG", "tif": "TIFF", "tiff": "TIFF", "dib": "BMP"}
    Image.new("RGB", (2, 2), (9, 9, 9)).save(tree / "val" / "happy" / f"x.{suffix}", formats[suffix.lower()])
    manifest = read_manifest(tree)
    place = manifest.names.index(f"val/happy/x.{suffix}")
    assert manifest.read(place).getpixel((0, 0)) == (9, 9, 9)
    assert len(find_images(tree).paths) == len(manifest) == 15


def write(name: str) -> Callable[[Path], None]:
    def act(root: Path) -> None:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")

    return act


@pytest.mark.parametrize(
    ("add", "said"),
    [
        (write("train/happy/x.heic"), "1 HEIC image (train/happy/x.heic)"),
        (write("test/angry/x.GIF"), "1 GIF image (test/angry/x.GIF)"),
        (write("train/angry/face"), "1 file without a suffix (train/angry/face)"),
        (write("more.zip"), "1 archive (more.zip)"),
        (write("train/happy/x.MP4"), "1 video (train/happy/x.MP4)"),
        (write("notes.pdf"), "1 .pdf file (notes.pdf)"),
        (lambda root: faces(root / "extra" / "happy", 3), "3 images (extra/happy/0.png, …)"),
        (lambda root: face(root / "train" / "loose.png"), "1 image (train/loose.png)"),
        (lambda root: face(root / "loose.png"), "1 image (loose.png)"),
        (
            lambda root: (root / "val" / "happy" / "x").symlink_to("gone"),
            "1 link that leads nowhere new (val/happy/x -> {}/val/happy/gone)",
        ),
        (lambda root: table(root / "labels.csv", "image,x", []), "1 table (labels.csv)"),
        (lambda root: table(root / "fer.tsv", "image,x", []), "1 table (fer.tsv)"),
        (write("readme.txt"), ""),
        (write("val/.DS_Store"), ""),
        (write("LICENSE"), ""),
    ],
)
def test_what_is_not_read_is_said(tree: Path, add: Callable[[Path], None], said: str) -> None:
    add(tree)
    assert unread_message(read_manifest(tree).unread) == (f"not read: {said.format(tree)}" if said else "")


def test_prediction_says_what_it_does_not_read(tree: Path, caplog: pytest.LogCaptureFixture) -> None:
    write("test/angry/x.heic")(tree)
    table(tree / "labels.csv", "image,x", [])
    data = EmotionDataModule(str(tree), num_workers=0)
    with caplog.at_level("INFO"):
        data.setup("predict")
    assert len(data.predict_files.paths) == 14
    assert "Data: not read: 1 table (labels.csv), 1 HEIC image (test/angry/x.heic)" in caplog.text


def test_tables_that_are_read_and_images_they_do_not_name(manifests: Path) -> None:
    face(manifests / "faces" / "9.png")
    assert read_manifest(manifests).unread == ("faces/9.png",)


def test_names_that_are_no_text_can_be_printed(tmp_path: Path) -> None:
    (tmp_path / "x\udce9.heic").write_bytes(b"")
    unread_message(unread_files(tmp_path, {})).encode()
