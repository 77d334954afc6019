"""A run is told how to be made again: its configuration says what ran, and on what data."""

import json
import shutil
import sys
from pathlib import Path

import pytest
import yaml

from emotion_lightning.cli import main
from emotion_lightning.cli.same_data import compare
from emotion_lightning.report.run import Run
from tests.helpers import QUIET, RUN, TINY, fails

PARTS = ["--unfreeze.schedule", "{0: classifier_only, 0.3: layer4, 0.6: all_layers}"]
FOUND = [*PARTS, "--data.batch_size", "auto", "--trainer.precision", "16-mixed", "--trainer.accelerator", "cpu"]


@pytest.fixture(scope="module")
def reproducible(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run that was left much to find out, and its data."""
    folder = tmp_path_factory.mktemp("reproducible")
    shutil.copytree(faces, folder / "faces")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["emotion_lightning"])
        main(["fit", "--data.root", "faces", *TINY, "--checkpoint.every_n_epochs", "1", *QUIET, *FOUND])
    return folder


def test_a_configuration_holds_what_ran(reproducible: Path) -> None:
    config = yaml.safe_load((reproducible / RUN / "config.yaml").read_text())
    assert {int(epoch): stage for epoch, stage in config["unfreeze"]["schedule"].items()} == {
        0: "classifier_only",
        1: "layer4",
        2: "all_layers",
    }
    assert config["trainer"]["precision"] in ("32-true", "bf16-mixed")
    assert config["data"]["batch_size"] == 16


def test_what_follows_the_schedule_follows_its_parts(reproducible: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    history = Run(reproducible / RUN).history
    assert list(history["schedule/trainable_stages"].values()) == [1, 2, 6]
    assert list(history["schedule/augmentation_phase"].values()) == [1, 2, 2]


def test_a_run_goes_on_by_the_command_that_began_it(
    reproducible: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(shutil.copytree(reproducible, tmp_path / "copy"))
    checkpoint = ["--ckpt_path", str(RUN / "checkpoints/epoch_001.ckpt")]
    said = fails(capsys, 2, "fit", *checkpoint, "--unfreeze.schedule", "{0: classifier_only, 0.9: all}")
    assert "contradicts the checkpoint" in said
    main(["fit", "--data.root", "faces", *checkpoint, *TINY, "--checkpoint.every_n_epochs", "1", *QUIET, *FOUND])
    assert [start["epoch"] for start in json.loads((RUN / "provenance.json").read_text())] == [0, 2]


def test_a_run_that_is_made_again_says_whether_its_data_is_the_same(
    reproducible: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(shutil.copytree(reproducible, tmp_path / "copy"))
    again = ["fit", "--config", str(RUN / "config.yaml"), "--trainer.fast_dev_run", "true"]
    with caplog.at_level("INFO"):
        main(again)
    assert f"Data: the same as in {RUN}: yes" in caplog.text
    caplog.clear()
    Path("faces/test/happy/00.png").unlink()
    with caplog.at_level("INFO"):
        main(again)
    assert f"Data: the same as in {RUN}: no: test had 18 images, and has 17" in caplog.text


def test_the_report_identifies_data_and_weights(reproducible: Path) -> None:
    origin = Run(reproducible / RUN).origin
    assert origin["images"] == "train 48, val 18, test 18"
    assert len(origin["data (SHA-256)"]) == 64
    assert len(origin["weights measured on val (SHA-256)"]) == 64


def test_other_data_is_told_by_what_differs() -> None:
    before = {"root": "/a", "fingerprint": "1", "images": {"train": 8, "val": 2}}
    assert compare(before, before) == "yes"
    assert compare(before, before | {"root": "/b"}) == "yes, now in /b"
    assert compare(before, before | {"fingerprint": "2"}) == "no: other images, labels or splits"
