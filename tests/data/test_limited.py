"""Evaluations of a part: which images they take, and that every figure says so."""

import json
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from emotion_lightning.cli import main
from emotion_lightning.data.dataset import spread
from tests.helpers import QUIET, RUN, TINY, Lab

pytestmark = pytest.mark.usefixtures("in_an_empty_folder")

SMALL = ["--trainer.max_epochs", "1", "--data.eval_batch_size", "4"]


@pytest.mark.parametrize("counts", [(6, 6, 6), (10, 3, 1), (1, 1, 40), (5, 0, 7)], ids=str)
def test_however_few_are_taken_every_class_has_equally_many_as_far_as_it_goes(counts: Sequence[int]) -> None:
    labels = [label for label, images in enumerate(counts) for _ in range(images)]
    order = spread(range(len(labels)), labels, seed=1)
    assert sorted(order) == list(range(len(labels)))
    for taken in range(1, len(order) + 1):
        found = Counter(labels[index] for index in order[:taken])
        most = max(found.values())
        assert all(found[label] >= min(most - 1, images) for label, images in enumerate(counts))
    assert spread(list(reversed(range(len(labels)))), labels, seed=1) == order
    assert spread(range(len(labels)), labels, seed=2) != order


@pytest.mark.parametrize(
    ("options", "images"),
    [
        ({"limit_val_batches": 2}, 8),
        ({"limit_val_batches": 0.5}, 8),  # of five batches
        ({"limit_val_batches": 0.99}, 16),
        ({"limit_val_batches": 99}, 18),
        ({"overfit_batches": 0.4}, 8),
        ({"fast_dev_run": 2}, 8),
    ],
    ids=str,
)
def test_what_is_measured_is_what_the_data_says(lab: Lab, options: dict[str, float], images: int) -> None:
    found = []
    for seed in (1, 1, 2):
        data, model = lab.data(seed=seed, split_seed=seed, eval_batch_size=4), lab.model(seed=seed)
        trainer = lab.trainer(callbacks=[], **options)
        trainer.validate(model, data, verbose=False)
        outputs = model.val_outputs.outputs()
        assert outputs.indices.tolist() == sorted(data.measured("val"))
        counts = outputs.labels.bincount(minlength=3)
        assert counts.max() - counts.min() <= 1
        assert len(outputs.labels) == images
        found.append(outputs.indices.tolist())
    assert found[0] == found[1]
    assert (found[0] != found[2]) == (images < 18)


@pytest.mark.parametrize(
    ("options", "images"),
    [
        (["--trainer.limit_val_batches", "1"], 4),  # a batch, as from Python, and not all of them
        (["--trainer.limit_val_batches", "0.5"], 8),
        (["--trainer.overfit_batches", "3"], 12),
    ],
    ids=str,
)
def test_a_limited_validation_says_so_wherever_its_figure_stands(
    faces: Path,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    images: int,
) -> None:
    with caplog.at_level("INFO", "lightning.pytorch"):
        main(["fit", "--data.root", str(faces), *TINY, *SMALL, *QUIET, *options])
    part = f"{images} of 18 images"
    [best] = [line for line in caplog.messages if line.startswith("\nBest epoch")]
    [summary] = [line for line in caplog.messages if "val macro F1" in line]
    assert f"Validation is of {part}\n" in capsys.readouterr().out
    assert part in best
    assert f"val images         {images} of 18, drawn evenly over the classes" in summary
    assert f"{part} of the val split are measured, drawn evenly over the classes" in caplog.text
    metrics = json.loads((RUN / "report/val/metrics.json").read_text())
    assert (metrics["n"], metrics["of"]) == (images, 18)
    assert metrics["notes"] == [f"{part} of the val split are measured, drawn evenly over the classes"]


@pytest.mark.parametrize("limit", ["2", "0.5"])
def test_a_limited_test_says_so(trained: Path, limit: str, caplog: pytest.LogCaptureFixture) -> None:
    args = ["--ckpt_path", str(trained / "best.ckpt"), "--data.eval_batch_size", "4", *QUIET, "--report.write", "true"]
    with caplog.at_level("INFO", "lightning.pytorch"):
        main(["test", *args, "--trainer.limit_test_batches", limit])
    metrics = json.loads((RUN / "report/test/metrics.json").read_text())
    assert (metrics["n"], metrics["of"]) == (8, 18)
    assert sorted(row["support"] for row in metrics["per_class"].values()) == [2, 3, 3]
    assert "8 of 18 images: accuracy" in caplog.text
    page = (RUN / "report/index.html").read_text()
    assert "8 of 18 test images" in page
    assert "Test, 8 of 18 images" in page
    assert "Test split: 8 of 18 images of the test split are measured, drawn evenly over the classes" in page
    main(["test", *args])
    assert json.loads((RUN / "report/test/metrics.json").read_text())["notes"] == []


def test_a_part_that_lacks_a_class_is_averaged_over_those_that_it_has(
    faces: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["fit", "--data.root", str(faces), *TINY, *SMALL, *QUIET, "--data.eval_batch_size", "2",
          "--trainer.limit_val_batches", "1"])  # fmt: skip
    metrics = json.loads((RUN / "report/val/metrics.json").read_text())
    present = [row["f1"] for row in metrics["per_class"].values() if row["support"]]
    assert len(present) == 2
    assert metrics["f1_macro"] == metrics["f1_macro_present"] == pytest.approx(sum(present) / 2)
    assert "Validation is of 2 of 18 images; 1 of 3 classes without images counted as 0\n" in capsys.readouterr().out
    assert "no image is of surprised: macro F1 is over the 2 of 3 classes that have some" in metrics["notes"][1]


@pytest.mark.parametrize("lacking", [("surprised",), ("angry", "surprised")], ids=str)
def test_a_validation_split_without_a_class_is_said_at_the_start_and_in_the_report(
    faces: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, lacking: Sequence[str]
) -> None:
    root = shutil.copytree(faces, tmp_path / "lacking")
    for name in lacking:
        shutil.rmtree(root / "val" / name)
    with caplog.at_level("INFO", "lightning.pytorch"):
        main(["fit", "--data.root", str(root), *TINY, *SMALL, *QUIET, "--report.write", "true"])
    said = f"no image of the val split is of {', '.join(lacking)}: macro F1 counts such a class as 0"
    trained = next(place for place, line in enumerate(caplog.messages) if line.startswith("Epoch 1: training"))
    assert sum(said in line for line in caplog.messages[:trained]) == 1
    metrics = json.loads((RUN / "report/val/metrics.json").read_text())
    kept = 3 - len(lacking)
    assert metrics["f1_macro"] == pytest.approx(metrics["f1_macro_present"] * kept / 3)
    beside = f"{metrics['f1_macro_present']:.4f} over the {kept} of 3 classes with images"
    assert f"({beside})" in next(line for line in caplog.messages if "val macro F1" in line)
    page = (RUN / "report/index.html").read_text()
    assert f"Validation split: {said}" in page
    assert f"macro F1 is {metrics['f1_macro_present']:.4f} over the classes that they have" in page
