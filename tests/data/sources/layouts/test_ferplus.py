import csv
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from emotion_lightning.data.sources.layouts.ferplus import CLASSES
from emotion_lightning.data.sources.manifest import read_manifest, write_splits
from emotion_lightning.errors import DataError
from tests.data.files import VOTES_HEADER, face, faces, ferplus, ferplus_votes, pixels, table, votes

SHORT = "8 classes (neutral, happy, surprise, sad, angry, disgust, fear, contempt)"
LEFT_OUT = [
    ("Training", "", *votes(NF=10)),
    ("Training", "a.png", *votes(unknown=6, fear=4)),
    ("Training", "b.png", *votes(fear=5, surprise=5)),
    ("PublicTest", "c.png", *votes(NF=9, fear=1)),
    ("PublicTest", "d.png", *votes(unknown=6, anger=4)),
]
FOLDERS = {"Training": "FER2013Train", "PublicTest": "FER2013Valid", "PrivateTest": "FER2013Test"}


def folders(base: Path, rows: Sequence[tuple[object, ...]], box: bool = True, header: str = "") -> Path:
    """The images and lists that FER+'s code makes of fer2013.csv and fer2013new.csv."""
    for number, (usage, name, *counts) in enumerate(rows):
        folder = base / FOLDERS[str(usage)]
        face(folder / str(name), number)
        with (folder / "label.csv").open("a", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerows([header.split(",")] * (header != "" and not stream.tell()))
            writer.writerow([name, *["(0, 0, 48, 48)"] * box, *counts])
    return base


def test_labels_come_from_the_votes_row_by_row(tmp_path: Path) -> None:
    rows = ferplus_votes()
    manifest = read_manifest(ferplus(tmp_path, [*LEFT_OUT[:3], *rows, *LEFT_OUT[3:]]))
    assert manifest.describe() == (
        f"FER+ votes in fer2013new.csv, pixels in fer2013.csv, {SHORT}, 16 train, 8 val; "
        "left out 2 unknown, 1 without a name, 1 without a majority, 1 non-face"
    )
    assert manifest.class_names == CLASSES
    assert manifest.labels == tuple(range(8)) * 3
    assert manifest.votes is not None
    assert manifest.votes[0] == (7, 0, 0, 0, 0, 0, 0, 3)
    assert manifest.names[0] == "fer2013.csv:5"
    assert manifest.read(0).getpixel((0, 0)) == (3, 3, 3)
    assert manifest.unread == ()


@pytest.mark.parametrize("given", ["fer2013new.csv", "fer2013.csv", ""])
def test_either_file_may_be_named(tmp_path: Path, given: str) -> None:
    root = ferplus(tmp_path, ferplus_votes()) / given
    assert read_manifest(root, layout="ferplus").labels == tuple(range(8)) * 3


def test_quirks_of_shared_copies(tmp_path: Path) -> None:
    header = VOTES_HEADER.replace("Usage,Image name", "Unnamed: 0,Image name , usage")
    rows = [(n, name, usage, *map(float, counts)) for n, (usage, name, *counts) in enumerate(ferplus_votes())]  # type: ignore[arg-type]
    file = table(tmp_path / "ferplus.csv", "\ufeff" + header, rows)
    file.write_text(file.read_text().replace(",", ";"))
    pixel_rows = [(0, row[2], pixels(n)) for n, row in enumerate(rows)]
    table(tmp_path / "icml_face_data.csv", "emotion, Usage, pixels", pixel_rows)
    manifest = read_manifest(tmp_path)
    assert manifest.layout == "FER+ votes in ferplus.csv, pixels in icml_face_data.csv"
    assert (manifest.labels, manifest.unread) == (tuple(range(8)) * 3, ())


@pytest.mark.parametrize("base", ["", "data", "FERPlus-master/data"])
@pytest.mark.parametrize("box", [True, False])
@pytest.mark.parametrize("header", ["", "named"])
def test_generated_folders(tmp_path: Path, base: str, box: bool, header: str) -> None:
    if header:
        header = ",".join(["image", *["box"] * box, VOTES_HEADER.split(",", 2)[2]])
    folders(tmp_path / base, [*ferplus_votes(), *LEFT_OUT[1:]], box, header)
    manifest = read_manifest(tmp_path)
    assert manifest.describe() == (
        f"FER+ folders, {SHORT}, 16 train, 8 val; left out 2 unknown, 1 without a majority, 1 non-face"
    )
    assert manifest.labels == tuple(range(8)) * 3
    assert manifest.names[0] == "/".join(filter(None, (base, "FER2013Train/fer0000000.png")))
    assert manifest.unread == ()
    manifest.read(0)


def test_the_published_votes_beside_generated_folders_are_no_obstacle(tmp_path: Path) -> None:
    folders(tmp_path / "data", ferplus_votes())
    table(tmp_path / "fer2013new.csv", VOTES_HEADER, ferplus_votes())
    (tmp_path / "src").mkdir()  # of the published code
    manifest = read_manifest(tmp_path)
    assert manifest.layout == "FER+ folders"
    write_splits(manifest, tmp_path / "src" / "splits.csv")
    again = read_manifest(tmp_path, splits_file=tmp_path / "src" / "splits.csv")
    assert (again.names, again.labels, again.votes) == (manifest.names, manifest.labels, manifest.votes)


def test_tables_of_votes_beside_their_images(tmp_path: Path) -> None:
    for split, name in {"Training": "train", "PublicTest": "valid"}.items():
        rows = [(f"pictures/{row[1]}", *row[2:]) for row in ferplus_votes() if row[0] == split]
        table(tmp_path / f"{name}.csv", "filepath," + VOTES_HEADER.split(",", 2)[2], rows)
    for number, row in enumerate(ferplus_votes()):
        face(tmp_path / "pictures" / str(row[1]), number)
    manifest = read_manifest(tmp_path)
    assert (manifest.class_names, manifest.labels, manifest.unread) == (CLASSES, tuple(range(8)) * 3, ())


def test_votes_without_an_image_of_their_own_leave_class_folders_alone(tmp_path: Path) -> None:
    for name in ("happy", "sad"):
        faces(tmp_path / "train" / name, 2, len(name))
        faces(tmp_path / "val" / name, 2, 10 * len(name))
    table(tmp_path / "fer2013new.csv", VOTES_HEADER, ferplus_votes())
    manifest = read_manifest(tmp_path)
    assert (manifest.class_names, manifest.unread) == (("happy", "sad"), ("fer2013new.csv",))


@pytest.mark.parametrize("given", [{"layout": "fer2013"}, {}])
def test_fer2013s_own_labels_can_be_had_and_say_so(tmp_path: Path, given: dict[str, str]) -> None:
    root = ferplus(tmp_path, ferplus_votes())
    values = [(n % 7, pixels(n), row[0]) for n, row in enumerate(ferplus_votes())]
    table(root / "fer2013.csv", "emotion,pixels,Usage", values)
    manifest = read_manifest(root if given else root / "fer2013.csv", **given)
    assert (len(manifest.class_names), manifest.votes) == (7, None)
    assert manifest.notes == ("fer2013new.csv beside it is not used; `layout=ferplus` takes its labels",)
    assert manifest.unread == ()


def _without_a_row(root: Path) -> None:
    file = root / "fer2013new.csv"
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:-1]))


def _reversed(root: Path) -> None:
    header, *rows = (root / "fer2013new.csv").read_text().splitlines()
    table(root / "fer2013new.csv", header, csv.reader(rows[::-1]))


def _damaged(root: Path) -> None:
    file = root / "fer2013new.csv"
    file.write_text(file.read_text().replace(",7,", ",0.7,", 1))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_without_a_row, r"fer2013new\.csv has 23 rows, .*fer2013\.csv 24: take both files as they are published"),
        (_reversed, r"line 2: Usage 'PublicTest' is not that of fer2013\.csv:2, train: take both"),
        (_damaged, r"fer2013new\.csv line 2: '0\.7, 0.*' are not the numbers of votes for neutral, happiness"),
        (lambda root: (root / "fer2013.csv").unlink(), r"pixels are not beside it: put fer2013\.csv there"),
        (lambda root: (root / "fer2013new.csv").unlink(), r"is no FER\+: expected fer2013new\.csv beside fer2013\.csv"),
    ],
)
def test_votes_that_do_not_go_with_the_images_are_refused(tmp_path: Path, damage, message: str) -> None:  # type: ignore[no-untyped-def]
    damage(ferplus(tmp_path, ferplus_votes()))
    with pytest.raises(DataError, match=message):
        read_manifest(tmp_path, layout="ferplus")


def test_lists_that_do_not_go_with_the_images_are_refused(tmp_path: Path) -> None:
    root = folders(tmp_path, ferplus_votes())
    (root / "FER2013Train" / "fer0000003.png").unlink()
    with pytest.raises(DataError, match=r"label\.csv names 1 missing file: line 4 'fer0000003\.png'"):
        read_manifest(root)
    shutil.copytree(root / "FER2013Valid", root / "validation")
    with pytest.raises(DataError, match=r"votes of val in both .*FER2013Valid/label\.csv and .*validation/label\.csv"):
        read_manifest(root)
    shutil.rmtree(root / "validation")
    with (root / "FER2013Valid" / "label.csv").open("a") as stream:
        stream.write("fer9.png,1,2,3\n")
    face(root / "FER2013Train" / "fer0000003.png")
    with pytest.raises(DataError, match=r"FER2013Valid/label\.csv line 9: '1, 2, 3' are not the numbers of votes"):
        read_manifest(root)
