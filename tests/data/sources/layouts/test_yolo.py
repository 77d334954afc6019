import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from emotion_lightning.data.sources.manifest import Manifest, read_manifest
from emotion_lightning.errors import DataError
from tests.data.files import face, faces, yolo


def label(manifest: Manifest, name: str) -> str:
    return manifest.class_names[manifest.labels[manifest.names.index(name)]]


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("wrapper", ["", "YOLO_format"])
def test_labels_say_the_class(tmp_path: Path, inside: bool, wrapper: str) -> None:
    yolo(tmp_path / wrapper, inside)
    manifest = read_manifest(tmp_path)
    assert manifest.describe() == "YOLO labels, 3 classes (Anger, Happy, sad), 9 train, 6 val, 3 test"
    prefix = f"{wrapper}/" if wrapper else ""
    assert label(manifest, f"{prefix}{'images/train' if inside else 'train/images'}/4_jpg.rf.4.jpg") == "Happy"
    assert manifest.unread == ()


def test_without_splits_they_are_cut(tmp_path: Path) -> None:
    yolo(tmp_path / "made", inside=True)
    (tmp_path / "made" / "images" / "train").rename(tmp_path / "images")
    (tmp_path / "made" / "labels" / "train").rename(tmp_path / "labels")
    (tmp_path / "labels" / "classes.txt").write_text("sad\nHappy\nAnger\n")
    manifest = read_manifest(tmp_path, layout="yolo")
    assert manifest.cut == ("train", "val", "test")
    assert label(manifest, "images/3_jpg.rf.3.jpg") == "sad"


@pytest.mark.parametrize("flat", [False, True])
def test_images_and_labels_in_one_folder(tmp_path: Path, flat: bool) -> None:
    yolo(tmp_path / "made")
    for split in ("train", "valid"):
        (tmp_path / split).mkdir()
        for path in sorted((tmp_path / "made" / split).rglob("*.*")):
            path.rename(tmp_path / (f"{split}_{path.name}" if flat else f"{split}/{path.name}"))
        if flat:
            (tmp_path / split).rmdir()
    shutil.rmtree(tmp_path / "made")
    (tmp_path / "classes.txt").write_text("Anger\nHappy\nsad\n")
    manifest = read_manifest(tmp_path)
    assert len(manifest) == 15
    assert manifest.cut == (("train", "val", "test") if flat else ())
    assert label(manifest, f"train{'_' if flat else '/'}4_jpg.rf.4.jpg") == "Happy"


@pytest.mark.parametrize(
    "text",
    [
        "names: [Anger, Happy, sad]",
        "names: {0: Anger, 1: Happy, 2: sad}",
        "names:\n  '2': sad\n  '0': Anger\n  '1': Happy\n",
        "path: /content/x\nnames:\n- Anger\n- Happy\n- sad",
    ],
)
@pytest.mark.parametrize("file", ["data.yaml", "affectnet.yml"])
def test_names_are_a_list_or_a_map(tmp_path: Path, text: str, file: str) -> None:
    yolo(tmp_path)
    (tmp_path / "data.yaml").unlink()
    (tmp_path / "args.yaml").write_text("epochs: 3")
    (tmp_path / file).write_text(text)
    assert label(read_manifest(tmp_path), "train/images/5_jpg.rf.5.jpg") == "sad"


def test_faces_are_cut_out_by_their_boxes(tmp_path: Path) -> None:
    yolo(tmp_path)
    picture = Image.new("RGB", (40, 20), (9, 9, 9))
    picture.paste((200, 0, 0), (20, 0, 40, 20))
    picture.save(tmp_path / "train" / "images" / "two.png")
    lines = "0 0.25 0.5 0.5 1\n1 0.75 0.5 0.5 1 0.93\n2.0 0.5 0.1 0.8 0.1 0.8 0.9 0.5 0.9\n"
    (tmp_path / "train" / "labels" / "two.txt").write_text(lines)
    manifest = read_manifest(tmp_path)
    names = [f"train/images/two.png#xywh=percent:{box}" for box in ("0,0,50,100", "50,0,50,100", "50,10,30,80")]
    assert [label(manifest, name) for name in names] == ["Anger", "Happy", "sad"]
    assert [manifest.read(manifest.names.index(name)).size for name in names] == [(20, 20), (20, 20), (12, 16)]
    assert manifest.read(manifest.names.index(names[1])).getpixel((0, 0)) == (200, 0, 0)
    assert manifest.notes == ("1 images with several faces", "3 faces cut out by their boxes")
    assert manifest.groups is not None
    assert {manifest.groups[manifest.names.index(name)] for name in names} == {"parts of train/images/two.png"}


def test_what_has_no_label_or_several_is_counted(tmp_path: Path) -> None:
    yolo(tmp_path)
    train = tmp_path / "train"
    for number, (name, lines) in enumerate(
        {"none": None, "void": "", "both": "0 0.5 0.5 1 1\n1 0.5 0.5 1 1\n", "flat": "1 0.5 0.5 0 1"}.items()
    ):
        face(train / "images" / f"{name}.jpg", 500 + number)
        if lines is not None:
            (train / "labels" / f"{name}.txt").write_text(lines)
    (train / "labels" / "lost.txt").write_text("0 0.5 0.5 1 1")
    manifest = read_manifest(tmp_path)
    assert len(manifest) == 18
    assert set(manifest.notes) == {
        "left out 4 images without a face that has one label",
        "left out 1 boxes of several classes",
        "left out 1 empty boxes",
        "1 labels without an image",
    }
    assert manifest.unread == ()


def rewrite(text: str) -> Callable[[Path], object]:
    return lambda root: (root / "train" / "labels" / "0_jpg.rf.0.txt").write_text(text)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (rewrite("3 0.5 0.5 1 1"), r"0\.txt line 1: class '3' is none of 0 Anger, 1 Happy, 2 sad: correct it"),
        (rewrite("\n0 48 48 96 96"), r"0\.txt line 2: '48 48 96 96' is no box: x, y, width and height are shares"),
        (rewrite("0 0.5 0.5 0.1"), r"'0\.5 0\.5 0\.1' is no box"),
        (rewrite("0 a b c d"), "'a b c d' is no box"),
        (
            lambda root: [path.rename(path.with_suffix(".heic")) for path in sorted(root.rglob("*.jpg"))],
            r"no image with a label: .*; it holds .*18 HEIC images .*, 18 \.txt files .*: save them as JPEG or PNG",
        ),
        (lambda root: (root / "data.yaml").unlink(), "has no data.yaml that names the classes of its labels: write on"),
        (lambda root: (root / "data.yaml").write_text("names: ["), r"data\.yaml cannot be read as YAML: "),
        (lambda root: (root / "data.yaml").write_text("names: ['0', '1', 2]"), r"by numbers \(0, 1, 2\): write what"),
    ],
)
def test_faults_of_labels(tmp_path: Path, spoil: Callable[[Path], object], message: str) -> None:
    spoil(yolo(tmp_path))
    with pytest.raises(DataError, match=message) as caught:
        read_manifest(tmp_path)
    assert "\n" not in str(caught.value)


def test_the_advice_on_names_works(tmp_path: Path) -> None:
    (yolo(tmp_path) / "data.yaml").write_text("names: [angry, happy, sad]")
    assert read_manifest(tmp_path).class_names == ("angry", "happy", "sad")


def test_data_yaml_names_the_classes_whatever_lies_beside_it(tmp_path: Path) -> None:
    yolo(tmp_path)
    (tmp_path / "alphabetical.yaml").write_text("names: [sad, Happy, Anger]")
    (tmp_path / "a.yaml").write_text("names: [")
    assert label(read_manifest(tmp_path), "train/images/5_jpg.rf.5.jpg") == "sad"
    (tmp_path / "data.yaml").rename(tmp_path / "faces.yaml")
    with pytest.raises(DataError, match=r"/alphabetical\.yaml and .*/faces\.yaml name other classes: call the file"):
        read_manifest(tmp_path)
    (tmp_path / "alphabetical.yaml").unlink()
    assert label(read_manifest(tmp_path), "train/images/5_jpg.rf.5.jpg") == "sad"
    (tmp_path / "faces.yaml").unlink()
    with pytest.raises(DataError, match=r"a\.yaml cannot be read as YAML"):
        read_manifest(tmp_path)


def test_a_date_that_cannot_be(tmp_path: Path) -> None:
    with (yolo(tmp_path) / "data.yaml").open("a") as stream:
        stream.write("exported: 2024-13-45\n")
    with pytest.raises(DataError, match=r"data\.yaml cannot be read as YAML: month must be in 1\.\.12"):
        read_manifest(tmp_path)


def test_one_text_beside_an_image_makes_class_folders_no_labels(tmp_path: Path) -> None:
    for number, emotion in enumerate(("angry", "happy")):
        faces(tmp_path / emotion, 9, 10 * number)
    face(tmp_path / "example.png")
    (tmp_path / "example.txt").write_text("an example")
    manifest = read_manifest(tmp_path)
    assert (manifest.layout, len(manifest), manifest.unread) == ("folder tree without splits", 18, ("example.png",))


def test_images_of_one_name_share_its_label(tmp_path: Path) -> None:
    yolo(tmp_path)
    face(tmp_path / "train" / "images" / "4_jpg.rf.4.png", 999)
    manifest = read_manifest(tmp_path)
    assert label(manifest, "train/images/4_jpg.rf.4.png") == label(manifest, "train/images/4_jpg.rf.4.jpg") == "Happy"
    assert manifest.notes == ()
