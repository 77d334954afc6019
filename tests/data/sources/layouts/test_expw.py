import shutil
from pathlib import Path

import pytest

from emotion_lightning.data.sources.manifest import read_manifest
from emotion_lightning.errors import DataError
from tests.data.files import expw

NAMES = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")


@pytest.mark.parametrize(
    ("lists", "images"),
    [
        *(("label", "image/origin"), ("", "image"), ("", "origin"), ("", "")),
        *(("data/label", "data/image/origin"), ("label", "image")),
    ],
)
def test_faces_are_cut_out_of_their_images(tmp_path: Path, lists: str, images: str) -> None:
    manifest = read_manifest(expw(tmp_path / "ExpW", lists, images).parent)
    assert manifest.layout == "ExpW"
    assert manifest.class_names == NAMES
    assert "70 faces cut out of 42 images" in manifest.notes
    assert manifest.unread == ()
    stem = "/".join(filter(None, ("ExpW", images, "angry_actor_1.jpg")))
    left, right = manifest.names.index(f"{stem}#xywh=0,5,18,23"), manifest.names.index(f"{stem}#xywh=22,2,22,28")
    assert manifest.class_names[manifest.labels[left]] == "disgust"  # label 1 of its own ids
    assert manifest.class_names[manifest.labels[right]] == "fear"
    assert (manifest.read(left).size, manifest.read(right).size) == ((18, 23), (18, 28))  # as far as the image goes
    assert manifest.read(left).getpixel((5, 5))[1] < 20  # type: ignore[index]
    assert manifest.read(right).getpixel((9, 9))[1] > 180  # type: ignore[index]
    assert manifest.splits[left] == manifest.splits[right]  # the faces of one image stay together
    assert manifest.groups is not None
    assert manifest.groups[manifest.names.index(f"{stem.replace('_1.', '_3.')}#xywh=0,5,18,23")] is None


def test_names_with_blanks_commas_and_boxes_that_are_empty_or_outside(tmp_path: Path) -> None:
    base = expw(tmp_path)
    (base / "image/origin/angry_actor_0.jpg").rename(base / "image/origin/a b, c.jpg")
    file = base / "label" / "label.lst"
    text = file.read_text().replace("angry_actor_0.jpg", "a b, c.jpg")
    file.write_text("\ufeff" + text + "a b, c.jpg 1 -4 -3 10 20 50 6\r\na b, c.jpg 2 9 9 9 20 50 6\n\n")
    manifest = read_manifest(base)
    assert "image/origin/a b, c.jpg#xywh=0,0,10,20" in manifest.names
    assert "left out 1 empty boxes" in manifest.notes
    assert len(manifest) == 71


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("angry_actor_0.jpg 0 5 0 18 28 30 7", r"label\.lst line 71: .* is no image, number of the face, top"),
        ("angry_actor_0.jpg 0 5 0 18 28", "line 71: 'angry_actor_0.jpg 0 5 0 18 28' is no image"),
        ("gone.jpg 0 5 0 18 28 30 3", "label.lst names 1 missing file: line 71 'gone.jpg'"),
        ("../secret.jpg 0 5 0 18 28 30 3", r"line 71: '\.\./secret\.jpg' is no path below"),
    ],
)
def test_faults_of_the_list(tmp_path: Path, line: str, message: str) -> None:
    file = expw(tmp_path) / "label" / "label.lst"
    file.write_text(f"{file.read_text()}{line}\n")
    with pytest.raises(DataError, match=message):
        read_manifest(tmp_path)


def test_a_list_without_its_images_says_what_is_there(tmp_path: Path) -> None:
    shutil.rmtree(expw(tmp_path) / "image" / "origin")
    for piece in range(2):
        (tmp_path / "image" / f"origin.7z.00{piece + 1}").touch()
    message = (
        r"none of the images that it names is there; it holds 2 archives \(image/origin.*\), 1 list .*: unpack them"
    )
    with pytest.raises(DataError, match=message):
        read_manifest(tmp_path)
