"""Each refusal says what was seen, and whoever follows its advice is led out of it."""

import shutil
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from PIL import Image

from emotion_lightning.data.sources.folder import find_images
from emotion_lightning.data.sources.manifest import read_manifest, write_splits
from emotion_lightning.data.sources.splits import SPLITS
from emotion_lightning.errors import DataError
from tests.data.files import face, faces, table

EMOTIONS = ("angry", "happy", "sad")
Do = Callable[[Path], Any]
"""Does something in the folder ``root/data``, and may return options to read it with."""


def tree(folder: Path, suffix: str = ".png", format: str | None = None) -> None:
    for place, emotion in enumerate(EMOTIONS):
        for number in range(12):
            path = folder / emotion / f"{number}{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (2, 2), (number, place, 7)).save(path, format)


def rename(suffix: str) -> Do:
    def act(data: Path) -> None:
        for path in sorted(path for path in data.rglob("*") if path.is_file() and path.suffix != suffix):
            Image.open(path).save(path.with_suffix(suffix))
            path.unlink()

    return act


def pack(data: Path) -> None:
    tree(data)
    for emotion in EMOTIONS:
        with zipfile.ZipFile(data / f"{emotion}.zip", "w") as archive:
            for path in sorted((data / emotion).iterdir()):
                archive.write(path, f"{emotion}/{path.name}")
        shutil.rmtree(data / emotion)


def unpack(data: Path) -> None:
    for path in data.glob("*.zip"):
        zipfile.ZipFile(path).extractall(data)


def films(data: Path) -> None:
    for emotion in EMOTIONS:
        (data / emotion).mkdir(parents=True)
        (data / emotion / "v.mp4").touch()


def frames(data: Path) -> dict[str, str]:
    for place, emotion in enumerate(EMOTIONS):
        for number in range(24):
            face(data / emotion / f"v{number // 2}_{number}.png", 100 * place + number)
    return {"group_regex": r"(\w+/v\d+)_"}


def flat(data: Path, table_name: str = "", folder: str = "", splits: Sequence[str] = ()) -> None:
    rows = []
    for number in range(36):
        face(data / folder / f"{number}.png", number)
        rows.append((f"{number}.png", EMOTIONS[number % 3], *splits[number : number + 1]))
    if table_name:
        table(data / table_name, "image,emotion" + ",split" * bool(splits), rows)


def into_folders(data: Path) -> None:
    for number in range(36):
        for path in sorted(data.rglob(f"{number}.png")):
            (path.parent / EMOTIONS[number % 3]).mkdir(exist_ok=True)
            path.rename(path.parent / EMOTIONS[number % 3] / path.name)


def into_table(data: Path) -> None:
    rows = [(path.relative_to(data), EMOTIONS[int(path.stem) % 3]) for path in data.rglob("*.png")]
    table(data / "train.csv", "filepath,label", rows)


class Case(NamedTuple):
    """A folder that is refused, with what, and what follows the advice."""

    make: Do
    message: str
    follow: Do


TWELVES = [split for split in ("train", "val", "test") for _ in range(12)]

CASES = {
    "HEIC": Case(
        lambda data: tree(data, ".heic", "PNG"),
        r"it holds 36 HEIC images \(angry/0\.heic, …\): save them as JPEG or PNG",
        rename(".png"),
    ),
    "GIF": Case(lambda data: tree(data, ".gif"), "it holds 36 GIF images", rename(".png")),
    "one class of HEIC": Case(
        lambda data: (tree(data), [path.rename(path.with_suffix(".heic")) for path in (data / "sad").iterdir()]),
        r"class 'sad' has no images in .*; it holds 12 HEIC images \(0\.heic, …\): save them as",
        rename(".png"),
    ),
    "no suffix": Case(
        lambda data: tree(data, "", "PNG"),
        r"it holds 36 files without a suffix \(angry/0, …\): if they are images, add a suffix to their names, such as",
        lambda data: [path.rename(f"{path}.jpg") for path in sorted(data.rglob("*")) if path.is_file()],
    ),
    "archives": Case(pack, r"it holds 3 archives \(angry\.zip, …\): unpack them", unpack),
    "archives of a split": Case(
        lambda data: pack(data / "train"), r"it holds 3 archives.*: unpack them", lambda data: unpack(data / "train")
    ),
    "videos": Case(films, r"it holds 3 videos .*: save frames of them .* of one video together by `group_reg", frames),
    "numpy": Case(
        lambda data: (data.mkdir(), (data / "x.npy").touch()),
        r"it holds 1 \.npy file \(x\.npy\): save their images as files in folders of their classes",
        tree,
    ),
    "images beside one another": Case(
        flat, r"it holds 36 images \(0\.png, …\): put the images of each class into a folder of its own", into_folders
    ),
    "images beside one another, named": Case(flat, r"or name them in a train\.csv", into_table),
    "images of a split beside one another": Case(
        lambda data: flat(data, "", "train"),
        r"train has no images in class folders .* it holds 36 images .*: put the images",
        into_folders,
    ),
    "images of a split beside one another, named": Case(
        lambda data: flat(data, "", "train"), r"or name them in a train\.csv", into_table
    ),
    "one class": Case(
        tree,
        "it holds 12 images .*; if they are those of one class of several, give the folder above",
        lambda data: {"root": data},
    ),
    "one class of several people": Case(
        lambda data: [faces(data / "happy" / who, 3, 10 * n) for n, who in enumerate("ab")] and tree(data),
        "happy is named as a class, and its folders a, b are no emotions: give the folder above",
        lambda data: {"root": data},
    ),
    "two data sets": Case(
        lambda data: [tree(data / name / split) for name in ("ck", "fer") for split in ("train", "val")],
        "the folders ck, fer would be classes, but have the sub-folders train, val; give one of these folders",
        lambda data: {"root": data / "ck"},
    ),
    "two data sets, flat": Case(
        lambda data: [tree(data / name) for name in ("ck", "fer")],
        "the folders ck, fer would be classes, but have the sub-folders angry, happy, sad; give one of these folders",
        lambda data: {"root": data / "fer"},
    ),
    "a table of another name": Case(
        lambda data: flat(data, "labels/list.csv", "images"),
        r"no folder is named as an emotion, and .*list\.csv names images and their classes: to go by it, call it train",
        lambda data: (data / "labels" / "list.csv").rename(data / "images" / "train.csv") and None,
    ),
    "class folders beside a table of other files": Case(
        lambda data: (tree(data), table(data / "train.csv", "filepath,label", [("x.jpg", "dog")])),
        r"train\.csv names 1 missing file: .*; or give `layout=tree` to go by the folders",
        lambda data: {"layout": "tree"},
    ),
    "a table as root": Case(
        lambda data: (flat(data, "faces.csv"), (data.parent / "x").touch()),
        r"faces\.csv names images in other files: call it train\.csv and give its folder",
        lambda data: (data / "faces.csv").rename(data / "train.csv") and None,
    ),
    "a table of splits as root": Case(
        lambda data: flat(data, "faces.csv", splits=TWELVES),
        r"faces\.csv names images in other files: give it as `splits_file` and its folder, .*data$",
        lambda data: {"splits_file": data / "faces.csv"},
    ),
    "a table of splits": Case(
        lambda data: flat(data, "labels/list.csv", "images", TWELVES),
        r"list\.csv names images .*: to go by it, give it as `splits_file` and the folder that its paths start from as",
        lambda data: {"splits_file": data / "labels" / "list.csv", "root": data / "images"},
    ),
    "a table of splits that is called train.csv": Case(
        lambda data: flat(data, "train.csv", splits=TWELVES),
        r"train\.csv names a split in each row: give it as `splits_file`",
        lambda data: {"splits_file": data / "train.csv"},
    ),
}
ROOTS = {
    "one class": "data/happy",
    "one class of several people": "data/happy",
    "a table as root": "data/faces.csv",
    "a table of splits as root": "data/faces.csv",
}


@pytest.mark.parametrize("case", CASES)
def test_who_follows_the_advice_is_led_out(tmp_path: Path, case: str) -> None:
    make, message, follow = CASES[case]
    data = tmp_path / "data"
    make(data)
    with pytest.raises(DataError, match=message) as caught:
        read_manifest(tmp_path / ROOTS.get(case, "data"))
    assert "\n" not in str(caught.value)
    given = follow(data)
    options = {"root": data} | (given if isinstance(given, dict) else {})
    manifest = read_manifest(**options)
    assert sorted(manifest.class_names) == list(EMOTIONS)
    if "splits_file" in options:
        assert [len(manifest.indices(split)) for split in SPLITS] == [12, 12, 12]


@pytest.mark.parametrize("suffix", [".tif", ".TIFF"])
@pytest.mark.parametrize("place", ["", "archive/faces", "archive/faces (1)/data/train"])
def test_what_is_whole_is_read_through_its_wrappers(tmp_path: Path, suffix: str, place: str) -> None:
    tree(tmp_path / place, suffix)
    assert read_manifest(tmp_path).class_names == EMOTIONS


@pytest.mark.parametrize("beside", [("notebooks/x.ipynb",), ("src/a.py", "docs/x.pdf", "models/w.pt")])
def test_folders_without_images_beside_the_data_do_not_hide_it(tmp_path: Path, beside: tuple[str, ...]) -> None:
    for split in ("train", "val"):
        tree(tmp_path / "data" / split)
    for name in beside:
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    manifest = read_manifest(tmp_path)
    assert manifest.describe() == "folder tree with splits, 3 classes (angry, happy, sad), 36 train, 36 val"
    assert manifest.unread == tuple(sorted(beside))


def test_a_class_that_is_alone_is_not_taken_for_a_wrapper(tmp_path: Path) -> None:
    for number, who in enumerate("ab"):
        faces(tmp_path / "happy" / who, 9, 10 * number)
    with pytest.raises(DataError, match=r"has one class only \(happy\): add images of another"):
        read_manifest(tmp_path)
    tree(tmp_path / "happy" / "train")  # a wrapper of that name
    assert read_manifest(tmp_path / "happy", layout="tree").class_names == EMOTIONS


@pytest.mark.parametrize("name", ["metadata.csv", "labels.tsv"])
def test_a_table_in_the_folder_of_a_split(tmp_path: Path, name: str) -> None:
    for split in ("train", "validation", "test"):
        flat(tmp_path / split, name)
    (tmp_path / "test" / name).unlink()
    manifest = read_manifest(tmp_path)
    assert manifest.counts("val") == dict.fromkeys(EMOTIONS, 12)
    assert manifest.names[0] == "train/0.png"
    assert len(manifest.unread) == 36


@pytest.mark.parametrize("name", ["train.csv", "labels.csv"])
def test_folders_of_any_names_beside_a_table_can_be_gone_by(tmp_path: Path, name: str) -> None:
    for number, folder in enumerate(("joie", "ennui")):
        faces(tmp_path / folder, 9, 10 * number)
    table(tmp_path / name, "id,score" if name == "train.csv" else "path,class", [("a.png", "x")])
    with pytest.raises(DataError, match=rf"{name}.*; .*`layout=tree`"):
        read_manifest(tmp_path)
    assert read_manifest(tmp_path, layout="tree").class_names == ("ennui", "joie")


@pytest.mark.parametrize("place", ["", "train/"])
def test_the_advice_on_numbers_in_a_table_works(tmp_path: Path, place: str) -> None:
    flat(tmp_path / "train")
    rows = [(f"{'' if place else 'train/'}{number}.png", number % 3) for number in range(36)]
    table(tmp_path / place / "train.csv", "filepath,label", rows)
    with pytest.raises(DataError, match=r"is a number, .*: write label_map\.json beside it, like") as caught:
        read_manifest(tmp_path)
    assert "layout" not in str(caught.value)  # there are no folders to go by
    (tmp_path / place / "label_map.json").write_text('{"sad": 0, "happy": 1, "angry": 2}')
    manifest = read_manifest(tmp_path)
    assert manifest.class_names == ("sad", "happy", "angry")
    write_splits(manifest, tmp_path / "splits.csv")
    assert read_manifest(tmp_path, splits_file=tmp_path / "splits.csv").labels == manifest.labels


def test_prediction_says_what_is_there_too(tmp_path: Path) -> None:
    tree(tmp_path, ".heic", "PNG")
    with pytest.raises(
        DataError, match=r"holds no images \(.*\); it holds 36 HEIC images .*: save them as JPEG or PNG"
    ):
        find_images(tmp_path)
    rename(".png")(tmp_path)
    assert len(find_images(tmp_path).paths) == 36
