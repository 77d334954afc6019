"""Photographs that become a data set of faces."""

import csv
import shutil
from pathlib import Path

import pytest
from PIL import Image

from emotion_lightning.cli import main
from emotion_lightning.data.drawn import draw_face
from emotion_lightning.data.sources.manifest import read, read_manifest
from emotion_lightning.inference import faces
from emotion_lightning.inference.faces import Face
from tests.helpers import QUIET, TINY, fails

pytestmark = pytest.mark.usefixtures("in_an_empty_folder")

GRAY = (128, 128, 128)


class Finder:
    """In place of YuNet: finds the squares of the drawn faces, which differ from the gray around them."""

    def __init__(self, model: str | None = None):
        self.model = model

    def find(self, picture: Image.Image) -> list[Face]:
        found = []
        for left in range(0, picture.width, 100):
            if picture.getpixel((left + 50, 50)) != GRAY:
                x, y = left + 10.0, 10.0
                eyes = ((x + 20, y + 30), (x + 60, y + 30))
                found.append(Face((x, y, 80.0, 80.0), (*eyes, *[(x + 40, y + 60)] * 3), 0.9))
        return found


@pytest.fixture
def finder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emotion_lightning.cli.prepare.FaceDetector", Finder)


def photograph(file: Path, emotion: str, *indices: int) -> None:
    """Save a photograph with these drawn faces side by side."""
    picture = Image.new("RGB", (100 * max(len(indices), 1), 100), GRAY)
    for place, index in enumerate(indices):
        picture.paste(draw_face(emotion, seed=5, index=index, size=100), (100 * place, 0))
    file.parent.mkdir(parents=True, exist_ok=True)
    picture.save(file)


@pytest.fixture
def photographs() -> Path:
    root, place = Path("photos"), 0
    for emotion in ("angry", "happy"):
        for number in range(12):
            photograph(root / emotion / f"p{number:02d}.png", emotion, place, place + 1)
            place += 2
    photograph(root / "happy/empty.png", "happy")
    (root / "happy/broken.jpg").write_text("no picture")
    return root


def manifest(folder: str = "crops") -> list[dict[str, str]]:
    with (Path(folder) / "manifest.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.usefixtures("finder")
def test_each_face_is_a_file_and_a_row(photographs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (photographs / "happy/film.mp4").touch()
    main(["prepare", "photos", "crops"])
    printed = capsys.readouterr()
    assert "48 faces of 26 photographs; 1 without a face, 1 unreadable" in printed.out
    assert "not read: 1 video" in printed.err
    assert "\r" not in printed.err  # no terminal
    rows = manifest()
    assert len(rows) == 50
    named = {row["file"] for row in rows if row["file"]}
    assert named == {path.relative_to("crops").as_posix() for path in Path("crops").rglob("*.png")}
    [first, second] = [row for row in rows if row["source"] == "angry/p00.png"]
    assert (first["file"], second["file"]) == ("angry/p00_crop1.png", "angry/p00_crop2.png")
    assert [second[side] for side in ("left", "top", "width", "height")] == ["110.0", "10.0", "80.0", "80.0"]
    assert second["landmarks"].split()[:2] == ["130.0,40.0", "170.0,40.0"]
    assert (second["score"], second["reason"]) == ("0.9", "")
    with Image.open("crops/angry/p00_crop2.png") as cut, Image.open("photos/angry/p00.png") as whole:
        assert cut.size == (82, 82)
        assert cut.getpixel((41, 41)) == whole.getpixel((150, 50))
    without = {row["source"]: row for row in rows if not row["file"]}
    assert without["happy/empty.png"]["reason"] == "no face"
    assert "not a JPEG" in without["happy/broken.jpg"]["reason"]
    assert not any(without["happy/empty.png"][side] for side in ("left", "score", "landmarks"))


@pytest.mark.usefixtures("finder")
def test_the_result_is_trained_on_with_the_faces_of_a_photograph_in_one_split(
    photographs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["prepare", "photos", "crops"])
    found = read_manifest(Path("crops"))
    assert found.layout == "folder tree without splits"  # the manifest is not taken for a table of the data
    assert found.class_names == ("angry", "happy")
    assert len(found.names) == 48
    splits: dict[str, set[str]] = {}
    for name, split in zip(found.names, found.splits, strict=True):
        splits.setdefault(name.partition("_crop")[0], set()).add(split)
    assert len(splits) == 24
    assert all(len(of_one) == 1 for of_one in splits.values())
    assert {split for of_one in splits.values() for split in of_one} == {"train", "val", "test"}
    grouped = read(Path("crops"), group_regex="(.*)_crop")  # as the documentation has it
    assert len({row.group for row in grouped.rows}) == 24
    main(["fit", "--data.root", "crops", *TINY, *QUIET])
    assert "layout" not in capsys.readouterr().err


@pytest.mark.usefixtures("finder")
def test_splits_stay_and_the_same_photographs_give_the_same_files() -> None:
    for split in ("train", "val"):
        photograph(Path("photos") / split / "happy/a.png", "happy", 1)
        photograph(Path("photos") / split / "angry/b.png", "angry", 2)
    main(["prepare", "photos", "crops"])
    assert {row.split for row in read(Path("crops")).rows} == {"train", "val"}
    main(["prepare", "photos", "again"])
    for path in sorted(Path("crops").rglob("*.*")):
        assert path.read_bytes() == (Path("again") / path.relative_to("crops")).read_bytes()


@pytest.mark.usefixtures("finder")
def test_photographs_of_one_name_do_not_replace_each_other() -> None:
    for number, name in enumerate(("x.png", "X.jpg", "x.png.jpg", "y.png")):
        photograph(Path("photos") / name, "happy", number)
    main(["prepare", "photos", "crops"])
    files = [row["file"] for row in manifest()]
    assert sorted(files) == ["X.jpg_crop1.png", "x.png.jpg_crop1.png", "x.png_crop1.png", "y_crop1.png"]
    assert len({file.casefold() for file in files}) == len(list(Path("crops").glob("*.png"))) == 4


@pytest.mark.usefixtures("finder")
def test_what_cannot_be_prepared_is_refused_and_leaves_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    photograph(Path("photos/a.png"), "happy", 1)
    Path("there").mkdir()
    assert "there exists" in fails(capsys, 2, "prepare", "photos", "there")
    assert "lies in photos" in fails(capsys, 2, "prepare", "photos", "photos/crops")
    assert "is a file" in fails(capsys, 2, "prepare", "photos/a.png", "crops")
    assert "no such file or folder" in fails(capsys, 1, "prepare", "nowhere", "crops")
    assert "holds no images" in fails(capsys, 1, "prepare", "there", "crops")
    assert sorted(path.name for path in Path().iterdir()) == ["photos", "there"]


def test_an_interrupted_command_leaves_nothing(photographs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted(Finder):
        def find(self, picture: Image.Image) -> list[Face]:
            raise KeyboardInterrupt

    monkeypatch.setattr("emotion_lightning.cli.prepare.FaceDetector", Interrupted)
    with pytest.raises(SystemExit) as stopped:
        main(["prepare", "photos", "crops"])
    assert stopped.value.code == 130
    assert [path.name for path in Path().iterdir()] == ["photos"]


def test_a_missing_extra_and_a_wrong_network_are_one_line(
    photographs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "--face.model none.onnx: no such file" in fails(
        capsys, 1, "prepare", "photos", "crops", "--face.model", "none.onnx"
    )
    monkeypatch.setattr(faces, "find_spec", lambda name: None)
    assert "pip install 'emotion_lightning[face]'" in fails(capsys, 2, "prepare", "photos", "crops")
    assert not Path("crops").exists()


def test_yunet_itself_prepares_a_photograph() -> None:
    pytest.importorskip("cv2")
    picture = Image.linear_gradient("L").resize((800, 500)).convert("RGB")
    picture.paste(draw_face("angry", seed=10, index=1, size=200), (100, 150))
    Path("photos").mkdir()
    picture.save("photos/a.jpg")
    main(["prepare", "photos", "crops"])
    [row] = manifest()
    with Image.open("crops/a_crop1.png") as cut:
        assert cut.width == cut.height == round(1.02 * max(float(row["width"]), float(row["height"])))
    shutil.rmtree("crops")
