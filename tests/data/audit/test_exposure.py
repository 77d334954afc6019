"""From planted copies to what training leaves out and what a test says of them."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from emotion_lightning.cli import main
from emotion_lightning.data.datamodule import EmotionDataModule
from emotion_lightning.errors import DataError
from tests.helpers import QUIET, RUN, TINY, Lab, fails

pytestmark = pytest.mark.usefixtures("in_an_empty_folder")


def test_by_default_leaks_are_reported_and_measured_apart(leaky: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "lightning.pytorch"):
        main(["fit", "--data.root", str(leaky), *TINY, *QUIET])
    assert "2 of 18 test images have a copy in train" in caplog.text
    assert "2 identical images in 1 group have different labels" in caplog.text
    assert json.loads((RUN / "audit.json").read_text())["leaks"]["train-test"]["images"] == 2
    main(["test", "--ckpt_path", str(RUN / "checkpoints/best.ckpt"), *QUIET])
    metrics = json.loads((RUN / "report/test/metrics.json").read_text())
    assert (metrics["n"], metrics["leak_free"]["n"], metrics["leaked"]) == (18, 16, 2)
    assert metrics["audit"]["policies"]["leaks"] == "report"
    main(["predict", "--ckpt_path", str(RUN / "checkpoints/best.ckpt"), str(leaky / "test"), "--output", "p.csv"])
    with Path("p.csv").open() as file:
        rows = {row["path"]: row["predicted"] for row in csv.DictReader(file)}
    clean = {path: label for path, label in rows.items() if not path.endswith(("happy/00.png", "angry/01.png"))}
    right = sum(Path(path).parent.name == label for path, label in clean.items())
    assert metrics["leak_free"]["accuracy"] == pytest.approx(right / 16)


def test_a_class_whose_images_all_leaked_does_not_count_as_0(leaky: Path, caplog: pytest.LogCaptureFixture) -> None:
    for path in (leaky / "test/surprised").iterdir():
        shutil.copy(path, leaky / "train/surprised" / f"leak_{path.name}")
    main(["fit", "--data.root", str(leaky), *TINY, *QUIET])
    with caplog.at_level("INFO", "lightning.pytorch"):
        main(["test", "--ckpt_path", str(RUN / "checkpoints/best.ckpt"), *QUIET, "--report.write", "true"])
    free = json.loads((RUN / "report/test/metrics.json").read_text())["leak_free"]
    assert free["classes"] == 2
    assert free["f1_macro"] == pytest.approx(sum(free["per_class"][name]["f1"] for name in ("angry", "happy")) / 2)
    said = "macro F1 is over the 2 of 3 classes that they have"
    assert said in caplog.text
    assert said in (RUN / "report/index.html").read_text()


def test_drop_leaves_out_the_training_copies_and_keeps_the_test_set(leaky: Path) -> None:
    main(["fit", "--data.root", str(leaky), *TINY, *QUIET, "--data.leaks", "drop", "--data.conflicts", "drop"])
    main(["test", "--ckpt_path", str(RUN / "checkpoints/best.ckpt"), *QUIET])
    metrics = json.loads((RUN / "report/test/metrics.json").read_text())
    assert (metrics["n"], metrics["leak_free"]["n"], metrics["leaked"]) == (18, 18, 0)
    assert metrics["audit"]["excluded"] == {"leak": 3}
    data = EmotionDataModule(str(leaky), image_size=32, leaks="drop")
    names = {data.manifest.names[index] for index in data.indices("train")}
    assert names.isdisjoint({"train/happy/leak_a.png", "train/angry/b.png", "train/surprised/wrong.png"})
    assert len(names) == 48


def measure(*options: str, split: str = "test") -> dict[str, Any]:
    main(["test", "--ckpt_path", str(RUN / "checkpoints/best.ckpt"), *QUIET, *options])
    metrics: dict[str, Any] = json.loads((RUN / f"report/{split}/metrics.json").read_text())
    return metrics


def test_what_a_model_has_seen_depends_on_its_run_and_not_on_the_options_of_a_test(leaky: Path) -> None:
    main(["fit", "--data.root", str(leaky), *TINY, *QUIET])
    as_trained = measure()
    assert (as_trained["leaked"], as_trained["audit"]["compared"]) == (2, "identical and near copies")
    assert measure("--data.leaks", "drop")["leak_free"] == as_trained["leak_free"]
    everything = measure("--data.test_split", "train", split="train")
    assert (everything["leaked"], everything["leak_free"]) == (51, None)

    moved = leaky.rename(leaky.with_name("moved"))
    assert measure("--data.root", str(moved))["leak_free"] == as_trained["leak_free"]
    (moved / "train/happy/00.png").rename(moved / "test/happy/seen.png")
    assert measure("--data.root", str(moved))["leaked"] == 3


def test_a_checkpoint_that_does_not_say_what_it_was_trained_on_has_no_leak_free_figures(leaky: Path) -> None:
    main(["fit", "--data.root", str(leaky), *TINY, *QUIET])
    checkpoint = torch.load(RUN / "checkpoints/best.ckpt", weights_only=True)
    del checkpoint["EmotionDataModule"]["trained_on"]
    torch.save(checkpoint, RUN / "checkpoints/best.ckpt")
    metrics = measure()
    assert (metrics["leaked"], metrics["leak_free"]) == (None, None)
    assert metrics["audit"]["compared"].startswith("nothing")


def test_a_resume_is_refused_when_a_training_image_has_changed(leaky: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["fit", "--data.root", str(leaky), *TINY, *QUIET, "--checkpoint.every_n_epochs", "1"])
    shutil.copy(leaky / "train/happy/00.png", leaky / "train/happy/01.png")
    error = fails(capsys, 1, "fit", "--ckpt_path", str(RUN / "checkpoints/epoch_000.ckpt"), *QUIET)
    assert "not those that the checkpoint was trained with" in error


@pytest.mark.parametrize("policy", ["leaks", "conflicts"])
def test_error_stops_before_training(leaky: Path, capsys: pytest.CaptureFixture[str], policy: str) -> None:
    error = fails(capsys, 1, "fit", "--data.root", str(leaky), *TINY, *QUIET, f"--data.{policy}", "error")
    assert f"--data.{policy} drop" in error
    assert not RUN.exists()  # nor a folder left behind


def test_a_resume_keeps_the_policy(leaky: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["fit", "--data.root", str(leaky), *TINY, *QUIET, "--data.leaks", "drop"])
    args = ["fit", "--ckpt_path", str(RUN / "checkpoints/last.ckpt"), "--data.leaks", "report"]
    assert "--data.leaks report contradicts the checkpoint" in fails(capsys, 2, *args)


def test_other_data_is_compared_with_the_images_trained_on(leaky: Path, faces: Path, tmp_path: Path) -> None:
    main(["fit", "--data.root", str(faces), *TINY, *QUIET])
    other = shutil.copytree(faces, tmp_path / "other")
    for split in ("train", "val"):  # what this folder calls train was never trained on
        for number, path in enumerate(sorted((other / split).rglob("*.png"))):
            noise = np.random.default_rng([ord(split[0]), number]).integers(0, 256, (32, 32, 3), np.uint8)
            Image.fromarray(noise).save(path)
    shutil.copy(faces / "train/happy/05.png", other / "test/happy/05.png")
    main(["test", "--ckpt_path", str(RUN / "checkpoints/best.ckpt"), "--data.root", str(other), *QUIET])
    metrics = json.loads((RUN / "report/test-other/metrics.json").read_text())
    assert (metrics["leaked"], metrics["leak_free"]["n"]) == (1, 17)
    assert metrics["audit"]["compared"] == "identical copies of the training images"


def test_unreadable_images_of_every_split_stop_a_fit_and_are_listed(leaky: Path, lab: Lab) -> None:
    broken = [leaky / "test/happy/02.png", leaky / "train/angry/03.png"]
    for path in broken:
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match=r"2 unreadable image\(s\)") as stopped:
        lab.trainer().fit(lab.model(), lab.data(root=str(leaky)))
    assert all(str(path) in str(stopped.value) for path in broken)
    data, trainer = lab.data(root=str(leaky), unreadable="skip"), lab.trainer(max_epochs=1)
    trainer.fit(lab.model(), data)
    assert len(data.indices("train")) == 48 + 3 - 1
    assert len(data.indices("test")) == 17
