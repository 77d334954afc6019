"""What folder names mean: splits by any usual name, and never a class that is none."""

from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest

from emotion_lightning.data.sources.layouts.names import split_named
from emotion_lightning.data.sources.manifest import read_manifest
from emotion_lightning.data.sources.splits import SPLITS
from emotion_lightning.errors import DataError
from tests.data.files import face, faces


def split_tree(root: Path, *names: str) -> None:
    for place, name in enumerate(names):
        for emotion in ("angry", "happy"):
            faces(root / name / emotion, 3, 100 * place + 10 * (emotion == "happy"))


@pytest.mark.parametrize(
    "names",
    [
        ("Training", "PublicTest", "PrivateTest"),
        ("train_set", "val_set", "test_set"),
        ("train_data", "val_data", "test_data"),
        ("FER2013Train", "FER2013Valid", "FER2013Test"),
        ("Training Set", "Validation Set", "Testing Set"),
        ("images_train", "images_dev", "images_test"),
        ("1_train", "2_eval", "3_test"),
        ("TRAIN", "VALID", "TEST"),
        ("train-images", "evaluation-images", "tests-images"),
        ("training_dataset", "validate", "testing"),
    ],
)
def test_usual_names_of_splits(tmp_path: Path, names: tuple[str, str, str]) -> None:
    split_tree(tmp_path, *names)
    manifest = read_manifest(tmp_path)
    assert manifest.describe() == "folder tree with splits, 2 classes (angry, happy), 6 train, 6 val, 6 test"


@pytest.mark.parametrize("name", ["trainer", "train_val", "contest", "happy", "attest", "valentine", "", "12", "set"])
def test_no_names_of_splits(name: str) -> None:
    assert split_named(name) is None


def output(name: str) -> Callable[[Path], None]:
    """What a run or an audit wrote below a folder: a file of its own and a picture."""

    def write(folder: Path) -> None:
        face(folder / "results" / "chart.png")
        (folder / "results" / name).write_text("{}")

    return write


@pytest.mark.parametrize(
    "write",
    [
        lambda folder: face(folder / "@eaDir" / "0.png" / "SYNOPHOTO_THUMB_M.png"),
        lambda folder: face(folder / "#recycle" / "0.png"),
        lambda folder: face(folder / "$RECYCLE.BIN" / "0.png"),
        lambda folder: face(folder / "__MACOSX" / "0.png"),
        lambda folder: face(folder / "lightning_logs" / "version_0" / "report" / "confusion.png"),
        lambda folder: face(folder / "wandb" / "0.png"),
        lambda folder: (folder / "notebooks").mkdir() or (folder / "notebooks" / "look.ipynb").write_text("{}"),
        output("audit.json"),
        output("report.json"),
        output("comparison.json"),
        output("lr_find.png"),
    ],
)
@pytest.mark.parametrize("place", ["", "happy"])
@pytest.mark.parametrize("split", ["", "train"])
def test_what_tools_and_runs_leave_is_no_class(
    tmp_path: Path, write: Callable[[Path], None], place: str, split: str
) -> None:
    faces(tmp_path / split / "angry", 10)
    faces(tmp_path / split / "happy", 10, 20)
    before = read_manifest(tmp_path)
    write(tmp_path / split / place)
    after = read_manifest(tmp_path)
    assert (after.names, after.class_names) == (before.names, ("angry", "happy"))


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        (("AF01", "AF02", "BM03"), "none of the classes is an emotion that is known by name (WARNING)"),
        (
            ("angry", "happy", "unsorted"),
            'unsorted is no emotion that is known by name (WARNING); `drop_classes=["unsorted"]`',
        ),
        (("0_angry", "happy faces", "Fearful", "calm"), ""),
    ],
)
def test_classes_that_are_no_emotions_are_said(tmp_path: Path, classes: tuple[str, ...], said: str) -> None:
    for place, name in enumerate(classes):
        faces(tmp_path / name, 9, 10 * place)
    described = read_manifest(tmp_path).describe()
    assert f"{len(classes)} classes ({', '.join(sorted(classes, key=str.casefold))})" in described
    assert said in described
    assert ("WARNING" in described) == bool(said)


@pytest.mark.parametrize(
    "levels",
    [
        ("{emotion}", "{split}"),
        ("S{subject:03d}", "{emotion}"),
        ("S{subject:03d}", "session{session}"),
        ("train", "S{subject:03d}", "{emotion}"),
    ],
)
def test_a_level_too_high_is_refused_unless_it_is_asked_for(tmp_path: Path, levels: tuple[str, ...]) -> None:
    for number, (emotion, split, subject) in enumerate(product(("angry", "happy"), ("train", "test"), range(3))):
        for session in range(2):
            folder = "/".join(levels).format(emotion=emotion, split=split, subject=subject, session=session)
            faces(tmp_path / folder, 4, 10 * (2 * number + session))
    with pytest.raises(DataError, match=r"would be classes, but have the sub-folders .*`layout=tree`"):
        read_manifest(tmp_path)
    assert len(read_manifest(tmp_path, layout="tree").class_names) in (2, 3)


def test_subjects_below_known_emotions_are_fine(tmp_path: Path) -> None:
    for place, name in enumerate(("angry/S01", "angry/S02", "happy/S01", "happy/S02")):
        faces(tmp_path / name, 9, 10 * place)
    assert read_manifest(tmp_path).class_names == ("angry", "happy")


OUTPUTS = ("audit.json", "report.json", "comparison.json", "metrics.json", "hparams.yaml", "lr_find.png")


@pytest.mark.parametrize("name", OUTPUTS)
@pytest.mark.parametrize("place", ["test", "val", "train/angry", "test/happy"])
def test_folders_of_splits_and_emotions_are_data_whatever_lies_in_them(tmp_path: Path, name: str, place: str) -> None:
    split_tree(tmp_path, "train", "val", "test")
    (tmp_path / place / name).write_text("{}")
    assert [len(read_manifest(tmp_path).indices(split)) for split in SPLITS] == [6, 6, 6]


@pytest.mark.parametrize("name", OUTPUTS)
@pytest.mark.parametrize("levels", [("fer",), ("download", "fer")])
def test_a_report_in_a_wrapper_does_not_hide_the_data(tmp_path: Path, name: str, levels: tuple[str, ...]) -> None:
    inside = tmp_path.joinpath(*levels)
    split_tree(inside, "train", "val", "test")
    (inside / name).write_text("{}")
    assert (len(read_manifest(tmp_path)), len(read_manifest(inside))) == (18, 18)


def test_images_of_a_folder_taken_for_an_output_are_counted(tmp_path: Path) -> None:
    for number, emotion in enumerate(("angry", "happy", "joie")):
        faces(tmp_path / emotion, 9, 10 * number)
    (tmp_path / "joie" / "metrics.json").write_text("{}")
    (tmp_path / "joie" / "metrics.csv").write_text("step,loss")
    face(tmp_path / "joie" / "report" / "x.png")
    face(tmp_path / "joie" / "lightning_logs" / "x.png")
    manifest = read_manifest(tmp_path)
    assert manifest.class_names == ("angry", "happy")
    assert manifest.unread == (*(f"joie/{number}.png" for number in range(20, 29)), "joie/report/x.png")
    for emotion in ("angry", "happy"):
        (tmp_path / emotion).rename(tmp_path / f".{emotion}")
    with pytest.raises(DataError, match=r"it holds 10 images \(.*20\.png, …\)"):
        read_manifest(tmp_path)
