"""A trained model measured on other data than its own, whatever splits and classes that has."""

import csv
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from sklearn.metrics import f1_score

from emotion_lightning.cli import main
from emotion_lightning.data.drawn import draw_face
from tests.helpers import QUIET, RUN, TINY, Lab, fails

pytestmark = pytest.mark.usefixtures("in_an_empty_folder")


@pytest.fixture
def a_run(in_an_empty_folder: None, trained: Path) -> None:
    """A run that has ended, in this folder."""


SHOWN = {"anger": "angry", "Joy": "happy", "sad": "sad", "contempt": "neutral"}


def draw(folder: Path, classes: Mapping[str, int], seed: int = 9) -> Path:
    """Faces of nobody that another data set has, ``folder/<class>/*.png``."""
    for name, images in classes.items():
        (folder / name).mkdir(parents=True)
        for number in range(images):
            face = draw_face(SHOWN.get(name, name), seed, 1000 * len(name) + number, 32)
            face.save(folder / name / f"{number}.png")
    return folder


def write_csv(root: Path, name: str, *more: str) -> None:
    draw(root / "images", {"angry": 3, "happy": 4})
    rows = [(str(path.relative_to(root)), path.parent.name, *more) for path in sorted(root.rglob("*.png"))]
    with (root / name).open("w", newline="") as stream:
        csv.writer(stream).writerows([("filepath", "label", "split")[: 2 + len(more)], *rows])


def only(split: str) -> Callable[[Path], object]:
    return lambda root: draw(root / split, {"angry": 3, "happy": 4})


LAYOUTS: dict[str, Callable[[Path], object]] = {
    "test": only("test"),
    "val": only("valid"),
    "train": only("train"),
    "no splits": lambda root: draw(root, {"angry": 3, "happy": 4}),
    "one class": lambda root: draw(root / "test", {"happy": 7}),
    "test.csv": lambda root: write_csv(root, "test.csv"),
    "val.csv": lambda root: write_csv(root, "val.csv"),
    "test rows": lambda root: write_csv(root, "splits.csv", "test"),
}


def measure(command: str, root: Path, *options: str) -> None:
    main([command, "--ckpt_path", str(RUN / "checkpoints/best.ckpt"), "--data.root", str(root), *QUIET, *options])


def results(folder: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RUN / "report" / folder / "metrics.json").read_text())
    return found


def predictions(folder: str) -> list[dict[str, str]]:
    with (RUN / "report" / folder / "predictions.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.usefixtures("a_run")
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("command", "split"), [("test", "test"), ("validate", "val")])
def test_all_of_other_data_is_measured_whatever_its_splits(command: str, split: str, layout: str) -> None:
    LAYOUTS[layout](Path("other"))
    own = (RUN / "report/val/metrics.json").read_bytes()
    measure(command, Path("other"), *(["--data.splits_file", "other/splits.csv"] if layout == "test rows" else []))
    found = results(f"{split}-other")
    assert (found["n"], found["other_data"]) == (7, True)
    assert found["data"] == str(Path("other").resolve())
    assert (RUN / "report/val/metrics.json").read_bytes() == own
    assert not (RUN / "report/test").exists()


@pytest.mark.usefixtures("a_run")
@pytest.mark.parametrize(
    ("classes", "kept", "unknown"),
    [
        ({"happy": 4, "angry": 3}, ["angry", "happy"], {}),
        ({"surprised": 2, "Joy": 4, "anger": 3}, ["angry", "happy", "surprised"], {}),
        ({"angry": 3, "happy": 2, "sad": 5, "contempt": 1, "surprised": 2}, None, {"sad": 5, "contempt": 1}),
        ({"anger": 3, "surprised": 2, "contempt": 6}, ["angry", "surprised"], {"contempt": 6}),
        ({"happy": 3, "sad": 2}, ["happy"], {"sad": 2}),
    ],
    ids=str,
)
def test_the_metrics_are_of_the_classes_that_both_know(
    classes: dict[str, int], kept: list[str] | None, unknown: dict[str, int], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "lightning.pytorch"):
        measure("test", draw(Path("other/test"), classes).parent)
    found, rows = results("test-other"), predictions("test-other")
    kept = kept or ["angry", "happy", "surprised"]
    assert found["n"] == sum(classes.values()) - sum(unknown.values())
    assert found["unknown_classes"] == unknown
    assert [name for name, row in found["per_class"].items() if row["support"]] == kept
    labels, predicted = ([row[column] for row in rows] for column in ("label", "predicted"))
    # an answer that the data lacks is an error, and macro F1 is over the classes that it has
    assert found["accuracy"] == pytest.approx(sum(a == b for a, b in zip(labels, predicted, strict=True)) / len(rows))
    assert found["f1_macro"] == pytest.approx(f1_score(labels, predicted, labels=kept, average="macro"))
    for name, images in unknown.items():
        assert f"{name} ({images})" in caplog.text
    lacking = {"angry", "happy", "surprised"} - set(kept)
    assert all(f"no image is of {', '.join(sorted(lacking))}" in text for text in [caplog.text] * bool(lacking))
    said = f"macro F1 is over the {len(kept)} of 3 classes"
    assert (said in caplog.text) == bool(lacking)
    assert found["classes"] == len(kept)


@pytest.mark.usefixtures("a_run")
@pytest.mark.parametrize("command", ["test", "validate"])
def test_data_without_a_class_that_the_model_knows_is_refused(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    draw(Path("other/test"), {"sad": 3, "contempt": 3})
    args = [command, "--ckpt_path", str(RUN / "checkpoints/best.ckpt"), "--data.root", "other", *QUIET]
    error = fails(capsys, 1, *args)
    assert "angry, happy, surprised" in error
    assert "contempt, sad" in error
    assert "--data.merge_classes '{angry: [NAME]}'" in error
    main([*args, "--data.merge_classes", "{angry: [sad]}"])  # as it says
    assert results(f"{'test' if command == 'test' else 'val'}-other")["unknown_classes"] == {"contempt": 3}


@pytest.mark.usefixtures("a_run")
def test_two_data_sets_of_one_name_have_a_folder_each(caplog: pytest.LogCaptureFixture) -> None:
    for number, place in enumerate(("a", "b")):
        measure("test", draw(Path(place) / "faces/test", {"happy": 2 + number}).parent)
    assert [results(folder)["n"] for folder in ("test-faces", "test-faces-2")] == [2, 3]
    shutil.rmtree("a/faces/test")
    with caplog.at_level("INFO", "lightning.pytorch"):
        measure("test", draw(Path("a/faces/test"), {"happy": 5}).parent)
    assert [results(folder)["n"] for folder in ("test-faces", "test-faces-2")] == [5, 3]
    assert "report/test-faces, in place of earlier ones" in caplog.text


def files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.slow
def test_the_report_of_the_run_stays_and_links_that_of_other_data(reported: Path) -> None:
    shutil.copytree(reported, RUN)
    before = files(RUN / "report")
    measure("test", draw(Path("other"), {"angry": 3, "sad": 2}), "--report.write", "true")
    after = files(RUN / "report")
    changed = {name for name in before if after[name] != before[name]}
    assert changed == {str(RUN / "report/index.html")}
    assert 'href="test-other/index.html"' in (RUN / "report/index.html").read_text()
    page = (RUN / "report/test-other/index.html").read_text()
    assert "2 images of classes that the model does not know are left out: sad (2)" in page
    assert json.loads((RUN / "report/test-other/report.json").read_text())["baseline"]["accuracy"] is None
    main(["report", str(RUN)])
    assert set(json.loads((RUN / "report/report.json").read_text())["results"]) == {"test", "val"}
    shutil.copytree(RUN, RUN.with_name("version_1"))
    main(["report", str(RUN), str(RUN.with_name("version_1"))])
    assert set(json.loads(Path("comparison/comparison.json").read_text())["groups"]) == {"test", "val"}


@pytest.mark.usefixtures("a_run")
@pytest.mark.parametrize(
    ("folder", "saved"), [(str(RUN), {"baseline_predictions": "base.csv"}), ("mine", {"baseline_accuracy": 0.9})]
)
def test_a_baseline_of_the_run_is_not_compared_with_other_data(folder: str, saved: dict[str, Any]) -> None:
    Path("base.csv").write_text("filepath,predicted\n")
    checkpoint = torch.load(RUN / "checkpoints/best.ckpt", weights_only=True)
    config = yaml.safe_load(checkpoint["config"])
    config["report"] |= saved
    torch.save(checkpoint | {"config": yaml.safe_dump(config)}, RUN / "checkpoints/best.ckpt")
    options = ["--report.write", "true", "--trainer.default_root_dir", folder]
    measure("test", draw(Path("other/test"), {"angry": 3, "happy": 2}).parent, *options)
    baseline = json.loads((Path(folder) / "report/test-other/report.json").read_text())["baseline"]
    assert baseline == {"accuracy": None, "f1": None, "predictions": None}


def test_what_a_checkpoint_remembers_of_its_own_data_is_not_asked_of_other_data(faces: Path) -> None:
    shutil.copytree(faces, "own")
    with Path("splits.csv").open("w", newline="") as stream:
        paths = [path.relative_to("own") for path in sorted(Path("own").rglob("*.png"))]
        csv.writer(stream).writerows([("filepath", "label", "split"), *((p, p.parts[1], p.parts[0]) for p in paths)])
    kept = ["--data.layout", "tree", "--data.splits_file", "splits.csv", "--data.group_regex", "/(0)[0-9]"]
    merged = ["--data.merge_classes", "{up: [happy, surprised]}", "--data.balance", "loss"]
    main(["fit", "--data.root", "own", *TINY, "--trainer.max_epochs", "1", *kept, *merged, *QUIET])
    write_csv(Path("other"), "test.csv")
    measure("test", Path("other"))
    assert {row["label"] for row in predictions("test-other")} == {"angry", "up"}
    Path("own").rename("moved")  # which is no other data
    measure("test", Path("moved"))
    assert results("test")["n"] == 18


def test_numbers_of_other_data_are_not_those_of_the_runs_layout(
    faces: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for split in ("train", "val"):
        for number, name in enumerate(("angry", "happy", "surprised")):  # 0 is neutral in AffectNet
            shutil.copytree(faces / split / name, Path("own") / split / str(number))
    kept = ["--data.layout", "affectnet", "--trainer.max_epochs", "1"]
    main(["fit", "--data.root", "own", *TINY, *kept, *QUIET])
    for number, name in enumerate(("angry", "happy")):
        draw(Path("drawn"), {name: 3}, seed=number)
        shutil.move(Path("drawn") / name, Path("other") / str(number))
    args = ["test", "--ckpt_path", str(RUN / "checkpoints/best.ckpt"), "--data.root", "other", *QUIET]
    assert "the class folders are numbers" in fails(capsys, 1, *args)
    main([*args, "--data.layout", "affectnet"])  # as the refusal says
    assert {row["label"] for row in predictions("test-other")} == {"neutral", "happy"}
    Path("own").rename("moved")
    main(["validate", "--ckpt_path", args[2], "--data.root", "moved", *QUIET])
    assert results("val")["n"] == 18


def test_data_cut_by_its_run_is_cut_so_again_wherever_it_lies(faces: Path) -> None:
    shutil.copytree(faces / "train", "flat")
    main(["fit", "--data.root", "flat", *TINY, "--trainer.max_epochs", "1", *QUIET])
    measure("test", Path("flat"))
    before = predictions("test")
    Path("flat").rename("moved")
    measure("test", Path("moved"))
    assert predictions("test") == before
    next(Path("moved/happy").iterdir()).unlink()  # perhaps a training image: then it is other data, all of it measured
    shutil.rmtree("moved/angry")
    measure("test", Path("moved"))
    found = results("test-moved")
    assert found["n"] == 31
    assert found["leaked"] > 15


@pytest.mark.usefixtures("a_run")
def test_other_data_with_several_splits_says_which_can_be_measured(
    faces: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for split in ("train", "val"):
        draw(Path("other") / split, {"happy": 3, "angry": 3}, seed=len(split))
    args = ["test", "--ckpt_path", str(RUN / "checkpoints/best.ckpt"), "--data.root", "other", *QUIET]
    assert "no test images, but train and val: test measures those of val by --data.test_split val" in fails(
        capsys, 1, *args
    )
    main([*args, "--data.test_split", "val"])
    assert results("val-other")["n"] == 6


@pytest.mark.usefixtures("a_run")
@pytest.mark.parametrize("names", [None, ["angry", "happy", "surprised"]], ids=str)
def test_from_python_too(lab: Lab, names: Sequence[str] | None) -> None:
    draw(Path("other/test"), {"happy": 3, "sad": 3})
    data = lab.data(root="other", class_names=names)
    [metrics] = lab.trainer(callbacks=[]).test(
        lab.model(), data, ckpt_path=RUN / "checkpoints/best.ckpt", weights_only=True, verbose=False
    )
    assert "test/f1_macro_present" in metrics
    assert data.other
    assert len(data.indices("test")) == 3
