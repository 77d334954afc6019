"""Links in a folder of images: all are followed, those that lead elsewhere are said, and none leads on for ever."""

import shutil
from pathlib import Path

import pytest
from PIL import Image

from emotion_lightning.data.datamodule import EmotionDataModule
from emotion_lightning.data.sources.folder import find_images, unread_message
from emotion_lightning.data.sources.manifest import read_manifest, write_splits
from emotion_lightning.errors import DataError
from tests.data.files import faces


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number, place in enumerate(("train/happy/a", "train/sad/b", "val/happy/c", "val/sad/d")):
        save(tmp_path / "root" / f"{place}.png", number)
    for number, emotion in enumerate(("happy", "angry")):
        save(tmp_path / "elsewhere" / emotion / "e.png", 9 + number)
    return tmp_path / "root"


def save(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (2, 2), number).save(path)


@pytest.mark.parametrize(
    ("link", "target", "image"),
    [
        ("train/happy/x.png", "happy/e.png", "train/happy/x.png"),
        ("train/happy/more", "happy", "train/happy/more/e.png"),
        ("train/angry", "angry", "train/angry/e.png"),
        ("test", ".", "test/happy/e.png"),
    ],
)
def test_a_link_out_of_the_root_is_followed_and_said(
    root: Path, link: str, target: str, image: str, caplog: pytest.LogCaptureFixture
) -> None:
    elsewhere = root.parent / "elsewhere" / target
    (root / link).symlink_to(elsewhere)
    if link == "test":
        shutil.rmtree(elsewhere / "angry")
    manifest = read_manifest(root)
    assert image in manifest.names
    where = elsewhere if elsewhere.is_dir() and link != "test" else root.parent / "elsewhere" / "happy"
    assert manifest.describe().endswith(f"; 1 file is reached by links, in {where}")
    assert manifest.unread == ()
    with caplog.at_level("INFO"):
        EmotionDataModule(str(root), num_workers=0).setup("predict")
    assert caplog.messages == [f"Data: 1 file is reached by links, in {where}"]
    write_splits(manifest, root.parent / "splits.csv")
    assert read_manifest(root, splits_file=root.parent / "splits.csv").names == manifest.names


def test_classes_linked_from_one_place_name_it_once(root: Path) -> None:
    for emotion in ("happy", "angry"):
        (root / "test" / emotion).parent.mkdir(exist_ok=True)
        (root / "test" / emotion).symlink_to(root.parent / "elsewhere" / emotion)
    (root / "train" / "angry").symlink_to(root.parent / "elsewhere" / "angry")
    assert read_manifest(root).describe().endswith(f"3 files are reached by links, in {root.parent / 'elsewhere'}")


def test_a_link_within_the_root_is_followed(root: Path) -> None:
    (root / "train" / "sad" / "x.png").symlink_to(root / "val" / "sad" / "d.png")
    (root / "train" / "sad" / "more").symlink_to(root / "val" / "sad")
    manifest = read_manifest(root)
    assert manifest.counts("train") == {"happy": 1, "sad": 3}
    assert (manifest.notes, manifest.unread) == ((), ())


@pytest.mark.parametrize("target", [".", "..", "../..", "../../train", "../../../root"])
@pytest.mark.parametrize("place", ["", "train", "train/happy"])
def test_links_that_lead_back_end_and_are_said(root: Path, place: str, target: str) -> None:
    before = read_manifest(root)
    (root / place / "loop").symlink_to(target)
    manifest = read_manifest(root)
    assert manifest.names == before.names
    assert unread_message(manifest.unread).startswith("not read: 1 link that leads nowhere new (")
    assert len(find_images(root).paths) == 4


def test_many_links_from_everywhere_to_everywhere_end(tmp_path: Path) -> None:
    names = [f"e{number}" for number in range(12)]
    for number, name in enumerate(names):
        faces(tmp_path / "happy" / name, 1, number)
    faces(tmp_path / "sad", 5, 100)
    for name in names:
        for other in names:
            (tmp_path / "happy" / name / f"to_{other}").symlink_to(f"../{other}")
    (tmp_path / "happy" / "knot").symlink_to("knot")
    manifest = read_manifest(tmp_path, layout="tree")
    assert sum(name.startswith("happy") for name in manifest.names) == 12
    assert unread_message(manifest.unread).startswith("not read: 145 links that lead nowhere new (happy/e0/to_e0 -> ")


def test_broken_links_are_said(root: Path) -> None:
    for link in ("train/angry", "train/happy/notes", "loose"):
        (root / link).symlink_to("gone")
    told = unread_message(read_manifest(root).unread)
    assert told.startswith("not read: 3 links that lead nowhere new (loose -> ")
    (root / "train" / "happy" / "x.png").symlink_to("gone.png")
    assert EmotionDataModule(str(root)).audit is not None
    (reason,) = EmotionDataModule(str(root)).audit.unreadable.values()  # type: ignore[union-attr]
    assert reason == "is a link to gone.png, where no file is"
    (root / "train" / "happy" / "y.png").symlink_to("/gone/y.png")
    assert read_manifest(root).notes == ()


def test_nothing_but_broken_links_is_refused_as_such(tmp_path: Path) -> None:
    (tmp_path / "angry").symlink_to("/gone")
    with pytest.raises(DataError, match=r"it holds 1 link that leads nowhere new \(angry -> /gone\): copy what"):
        read_manifest(tmp_path)
    with pytest.raises(DataError, match=r"angry does not exist, for it is a link to /gone: give the folder"):
        read_manifest(tmp_path / "angry")
    (tmp_path / "angry").unlink()
    for number, emotion in enumerate(("happy", "angry")):
        faces(tmp_path / emotion, 9, 10 * number)
    assert len(read_manifest(tmp_path)) == 18


def test_the_root_itself_may_be_a_link(root: Path) -> None:
    link = root.parent / "link"
    link.symlink_to(root)
    manifest = read_manifest(link)
    assert (manifest.root, len(manifest), manifest.notes) == (link, 4, ())


def test_a_manifest_of_the_user_may_name_links_anywhere(root: Path) -> None:
    (root / "x.png").symlink_to(root.parent / "elsewhere" / "happy" / "e.png")
    (root / "train.csv").write_text("filepath,label\nx.png,sad\nval/sad/d.png,happy\n")
    (root / "val.csv").write_text("filepath,label\nval/sad/d.png,sad\nval/happy/c.png,happy\n")
    manifest = read_manifest(root)
    assert len(manifest) == 4
    assert manifest.notes == (f"1 file is reached by links, in {root.parent / 'elsewhere' / 'happy'}",)


def hub(tmp_path: Path, table: bool) -> Path:
    """A data set as a hub's cache keeps it: files are links into blobs, two versions, of which main is the second."""
    base, number = tmp_path / "datasets--me--faces", 0
    (base / "refs").mkdir(parents=True)
    (base / "refs" / "main").write_text("2bbb")
    for version in ("1aaa", "2bbb"):
        rows = []
        for emotion in ("happy", "sad"):
            for place in range(10):
                blob, link = base / "blobs" / f"{number:064x}", base / "snapshots" / version / emotion / f"{place}.png"
                number += 1
                save(base / "made.png", number)
                blob.parent.mkdir(exist_ok=True)
                (base / "made.png").rename(blob)
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(Path("../../../blobs") / blob.name)
                rows.append(f"{emotion}/{place}.png,{emotion}")
        if table:
            (base / "blobs" / f"csv{version}").write_text("\n".join(["filepath,label", *rows]))
            (base / "snapshots" / version / "train.csv").symlink_to(f"../../blobs/csv{version}")
    return base


@pytest.mark.parametrize("table", [False, True])
def test_snapshots_of_a_hub(tmp_path: Path, table: bool) -> None:
    base = hub(tmp_path, table)
    for root in (base, base / "snapshots" / "2bbb"):
        manifest = read_manifest(root)
        assert (len(manifest), manifest.class_names) == (20, ("happy", "sad"))
        assert all("1aaa" not in name for name in manifest.names)
    assert manifest.read(0).size == (2, 2)
    assert manifest.unread == ()
    files = 20 + table
    assert manifest.notes == (f"{files} files are reached by links, in {base / 'blobs'}",)
    (base / "refs" / "main").unlink()
    with pytest.raises(DataError, match=r"snapshots holds several versions \(1aaa, 2bbb\): give the folder of one"):
        read_manifest(base)
    assert len(find_images(base / "snapshots" / "1aaa").paths) == 20


@pytest.mark.parametrize(("first", "second"), [("elsewhere/sub", "elsewhere"), ("elsewhere", "elsewhere/sub")])
def test_a_folder_that_links_reach_twice_is_listed_once(root: Path, first: str, second: str) -> None:
    save(root.parent / "elsewhere" / "sub" / "f.png", 20)
    for name, target in (("x", first), ("y", second)):
        (root / "train" / "happy" / name).symlink_to(root.parent / target)
    manifest = read_manifest(root)
    assert sorted(Path(name).name for name in manifest.names if "/happy/" in name and name.startswith("train")) == [
        *("a.png", "e.png", "e.png", "f.png")  # two files are called e.png
    ]
    assert len(manifest.unread) == 1
