"""Links in a folder of images: inside it they are followed, out of it they are refused."""

from pathlib import Path

import pytest
from PIL import Image

from emotion_lightning.data.sources.manifest import read_manifest
from emotion_lightning.errors import DataError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number, place in enumerate(("train/happy/a", "train/sad/b", "val/happy/c", "val/sad/d")):
        save(tmp_path / "root" / f"{place}.png", number)
    save(tmp_path / "elsewhere" / "secret.png", 9)
    return tmp_path / "root"


def save(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (2, 2), number).save(path)


@pytest.mark.parametrize("link", ["train/happy/x.png", "train/angry", "test"])
def test_a_link_out_of_the_root_is_refused(root: Path, link: str) -> None:
    folder = root.parent / "elsewhere"
    if link == "test":
        save(folder / "happy" / "e.png", 5)
    (root / link).symlink_to(folder / "secret.png" if link.endswith("png") else folder)
    with pytest.raises(DataError, match=rf"{link}.* leads to {folder}.*, outside {root}: copy it there, or name"):
        read_manifest(root)


def test_a_link_within_the_root_is_followed(root: Path) -> None:
    (root / "train" / "sad" / "x.png").symlink_to(root / "val" / "sad" / "d.png")
    assert read_manifest(root).counts("train") == {"happy": 1, "sad": 2}


def test_the_root_itself_may_be_a_link(root: Path) -> None:
    link = root.parent / "link"
    link.symlink_to(root)
    manifest = read_manifest(link)
    assert manifest.root == link
    assert len(manifest) == 4


def test_a_manifest_of_the_user_may_name_links_anywhere(root: Path) -> None:
    (root / "x.png").symlink_to(root.parent / "elsewhere" / "secret.png")
    (root / "train.csv").write_text("filepath,label\nx.png,sad\nval/sad/d.png,happy\n")
    (root / "val.csv").write_text("filepath,label\nval/sad/d.png,sad\nval/happy/c.png,happy\n")
    assert len(read_manifest(root)) == 4
