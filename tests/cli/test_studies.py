"""Several runs by one command: what they leave is what each leaves alone."""

import csv
import json
import os
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from emotion_lightning.cli import main, studies
from tests.helpers import QUIET, RUN, TINY, assert_equal, fails

pytestmark = pytest.mark.usefixtures("in_an_empty_folder")
SHORT = [*TINY, *QUIET, "--trainer.max_epochs", "1", "--unfreeze.schedule", "{0: all_layers}"]


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Run the commands here, which takes less time than a process for each; the slow tests have processes."""
    given: list[list[str]] = []

    def run_here(args: Sequence[str]) -> tuple[int, int]:
        given.append(list(args))
        main(args)
        if args[0] == "fit":
            shutil.copytree(RUN, other := RUN.with_name(f"of_another_command_{len(given)}"))
            start = json.loads((other / "provenance.json").read_text())[0]
            (other / "provenance.json").write_text(json.dumps([start | {"process": "0123abcd.1.1"}]))
        return 0, os.getpid()

    monkeypatch.setattr(studies, "run_command", run_here)
    return given


def rows(file: Path) -> list[dict[str, str]]:
    with file.open() as stream:
        return list(csv.DictReader(stream))


def test_each_image_has_an_answer_of_the_fold_that_did_not_train_on_it(
    faces: Path, in_this_process: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    main(["fit", "--data.root", str(faces), *SHORT, "--folds", "2"])
    runs = [RUN, RUN.with_name("version_1")]
    names = [row["filepath"] for run in runs for row in rows(run / "report/val/predictions.csv")]
    trained = {str(path.relative_to(faces)) for split in ("train", "val") for path in (faces / split).rglob("*.png")}
    assert sorted(names) == sorted(trained)
    for run in runs:
        validated = {row["filepath"] for row in rows(run / "report/val/predictions.csv")}
        assert {row["filepath"] for row in rows(run / "splits.csv") if row["split"] == "val"} == validated
        assert {row["leaked"] for row in rows(run / "report/val/predictions.csv")} == {"False"}
    page = Path("comparison/version_0_to_version_1")
    found = json.loads((page / "comparison.json").read_text())
    assert [group["runs"] for group in found["groups"]["val"]] == [["version_0", "version_1"]]
    assert found["same_images"] == {"val": False}
    assert "different images, those of their folds" in (page / "index.html").read_text()
    said = capsys.readouterr().out
    assert "2 runs, 1 seed, 2 folds on val: accuracy " in said
    assert f"Next:\n  python -m emotion_lightning test --ckpt_path {RUN}/checkpoints/best.ckpt " in said
    main(["test", "--ckpt_path", str(RUN / "checkpoints/best.ckpt"), *QUIET])  # which finds the same splits again


@pytest.mark.slow
def test_a_run_of_several_seeds_is_to_the_bit_the_run_of_its_seed(faces: Path) -> None:
    fit = ["fit", "--data.root", str(faces), *TINY, *QUIET]
    main([*fit, "--seeds", "1", "2", "--name", "lr"])
    main([*fit, "--seed_everything", "1"])
    runs = [RUN.with_name(name) for name in ("lr-seed1", "lr-seed2", "version_0")]
    of_several, other, alone = (torch.load(run / "checkpoints/last.ckpt", weights_only=True) for run in runs)
    assert_equal(of_several["state_dict"], alone["state_dict"])
    assert (of_several["hyper_parameters"]["seed"], other["hyper_parameters"]["seed"]) == (1, 2)
    configs = [yaml.safe_load((run / "config.yaml").read_text()) for run in (runs[0], runs[2])]
    assert configs[0] == configs[1]
    assert (Path("comparison/lr-seed1_to_lr-seed2") / "index.html").is_file()


@pytest.mark.slow
def test_the_command_ends_as_the_run_that_failed(faces: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["fit", "--data.root", str(faces), *SHORT, "--data.batch_size", "1", "--seeds", "1", "2"])
    assert stopped.value.code == 2
    assert capfd.readouterr().err.count("error: ") == 1


def test_a_signal_that_is_ignored_stays_so(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    take = signal.signal

    def noted(number: int, handler: Any) -> Any:
        taken.append(number)
        return take(number, handler)

    monkeypatch.setattr(signal, "signal", noted)
    before = take(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        assert studies.run_command(["--version"])[0] == 0
        assert signal.SIGTERM in taken
        assert signal.SIGHUP not in taken
    finally:
        take(signal.SIGHUP, before)


def test_torchrun_is_for_one_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    assert "need a torchrun each" in fails(capsys, 2, "fit", *SHORT, "--seeds", "1", "2")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--seeds", "1", "1"], "different whole numbers"),
        (["--seeds"], "different whole numbers"),
        (["--seeds", "x"], "different whole numbers"),
        (["--folds", "1"], "--folds 1 is no number of folds"),
        (["--folds"], "--folds"),
        (["--seeds", "1", "2", "--seed_everything", "3"], "--seed_everything is of a single run"),
        (["--folds", "3", "--data.fold=1"], "--data.fold is of a single run"),
        (["--seeds", "1", "2", "--ckpt_path", "last"], "--ckpt_path is of a single run"),
        (["--config", "several.yaml"], "--seeds is given on the command line"),
    ],
)
def test_options_that_several_runs_cannot_have_are_refused(
    options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("several.yaml").write_text("seeds: [1, 2]")
    assert said in fails(capsys, 2, "fit", *options)


@pytest.fixture
def two(trained: Path) -> list[str]:
    """Checkpoints of two epochs, each in a run of its own."""
    found = []
    for name, epoch in (("a", "epoch_000.ckpt"), ("b", "best.ckpt")):
        Path(name, "checkpoints").mkdir(parents=True)
        found.append(str(shutil.copy(trained / epoch, f"{name}/checkpoints/best.ckpt")))
    return found


def test_checkpoints_are_measured_and_their_probabilities_averaged(
    two: list[str], in_this_process: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    main(["test", "--ckpt_path", *two, *QUIET])
    assert [args[-1] for args in in_this_process] == two
    members = [rows(Path(name, "report/test/predictions.csv")) for name in ("a", "b")]
    found = rows(Path("ensemble/a_to_b/test/predictions.csv"))
    right = 0
    for row, first, second in zip(found, *members, strict=True):
        mean = {name: (float(first[name]) + float(second[name])) / 2 for name in ("angry", "happy", "surprised")}
        assert {name: float(row[name]) for name in mean} == pytest.approx(mean, abs=1e-6)
        assert (row["filepath"], row["predicted"]) == (first["filepath"], max(mean, key=lambda name: mean[name]))
        right += row["label"] == row["predicted"]
    metrics = json.loads(Path("ensemble/a_to_b/test/metrics.json").read_text())
    assert metrics["accuracy"] == pytest.approx(right / 18)
    assert list(metrics["members"]) == two
    printed = capsys.readouterr().out
    assert f"{two[0]}  " in printed
    assert "mean of 2" in printed
    assert f"{metrics['accuracy']:.4f} ({metrics['intervals']['accuracy'][0]:.4f} to " in printed


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda found: found["hyper_parameters"].update(class_names=["x", "y", "z"]), "has classes"),
        (lambda found: found["datamodule_hyper_parameters"].update(image_size=64), "has images of side"),
    ],
)
def test_checkpoints_that_cannot_be_averaged_are_refused_by_name(
    two: list[str], in_this_process: list[list[str]], capsys: pytest.CaptureFixture[str], change: object, said: str
) -> None:
    other = torch.load(two[1], weights_only=True)
    change(other)  # type: ignore[operator]
    torch.save(other, two[1])
    error = fails(capsys, 2, "test", "--ckpt_path", *two, *QUIET)
    assert said in error
    assert all(path in error for path in two)
    assert not in_this_process  # nothing was measured


def test_results_of_different_images_are_not_averaged(
    two: list[str],
    in_this_process: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def change(args: Sequence[str]) -> tuple[int, int]:
        main(args)
        if args[-1] == two[1]:
            file = Path("b/report/test/metrics.json")
            file.write_text(json.dumps(json.loads(file.read_text()) | {"images": "others"}))
        return 0, os.getpid()

    monkeypatch.setattr(studies, "run_command", change)
    assert "were measured on different images" in fails(capsys, 1, "test", "--ckpt_path", *two, *QUIET)
