import csv
import json
import lzma
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from emotion_lightning.cli import main
from emotion_lightning.data.sources import manifest
from emotion_lightning.data.sources.splits import stratified_group_split
from emotion_lightning.errors import DataError, UsageError
from emotion_lightning.runs.config import checkpoint_config, keep_found, load_checkpoint, refuse_contradictions
from tests.helpers import QUIET, RUN, TINY, fails

HERE = Path(__file__).parent


@pytest.fixture
def of_version_0_1(faces: Path, in_an_empty_folder: None) -> Path:
    """A checkpoint that version 0.1 wrote after the first of three epochs, in an empty folder beside its data."""
    checkpoint = Path("run/checkpoints/epoch_000.ckpt")
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(lzma.decompress((HERE / "checkpoint_v0_1.ckpt.xz").read_bytes()))
    shutil.copytree(faces, "faces")
    return checkpoint


def test_a_checkpoint_of_version_0_1_is_measured_as_that_version_measured_it(of_version_0_1: Path) -> None:
    main(["test", "--ckpt_path", str(of_version_0_1), "--data.root", "faces", *QUIET])
    metrics = json.loads(Path("run/report/test/metrics.json").read_text())
    assert metrics["accuracy"] == 1 / 3
    assert metrics["loss"] == pytest.approx(2.128179430461888, rel=1e-5)
    assert list(metrics["per_class"]) == ["angry", "up"]  # merged, as its options say under their old names


def test_a_checkpoint_of_version_0_1_predicts_what_that_version_predicted(of_version_0_1: Path) -> None:
    main(["predict", "--ckpt_path", str(of_version_0_1), "faces/test", "--output", "predictions.csv"])
    with Path("predictions.csv").open() as file:
        rows = {row["path"]: row for row in csv.DictReader(file)}
    expected = {"faces/test/angry/00.png": 0.857860, "faces/test/angry/01.png": 0.985695}
    for path, probability in expected.items():
        assert float(rows[path]["angry"]) == pytest.approx(probability, abs=1e-4)


def test_a_run_of_version_0_1_is_resumed_with_its_options(of_version_0_1: Path) -> None:
    Path("run/starts.json").write_text('[{"started": "2026-01-01", "epoch": 0}]')
    main(["fit", "--ckpt_path", str(of_version_0_1), "--data.root", "faces", *QUIET])
    last = torch.load("run/checkpoints/last.ckpt", weights_only=True)
    assert last["epoch"] == 2
    assert last["hyper_parameters"]["batch_norm"] == "train"  # before there was a choice
    assert last["datamodule_hyper_parameters"]["merge_classes"] == {"up": ["happy", "surprised"]}
    assert last["callbacks"]["EMA"]["updates"] == last["global_step"]
    assert [start["epoch"] for start in json.loads(Path("run/provenance.json").read_text())] == [0, 1]


def test_options_that_change_learning_must_stay_in_a_resume_and_others_need_not() -> None:
    saved = {"model": {"eps": 1e-8, "compile": False, "tta": "none"}, "data": {"num_workers": 2, "image_size": 64}}
    free = {"model": {"eps": 1e-8, "compile": True, "tta": "none"}, "data": {"num_workers": 0, "image_size": 64}}
    refuse_contradictions(saved, free, "fit")
    for group, option, value in (("model", "eps", 1.0), ("model", "tta", "flip"), ("data", "image_size", 96)):
        other = {name: dict(values) for name, values in saved.items()}
        other[group][option] = value
        with pytest.raises(UsageError, match=f"`{group}.{option}` {value} contradicts the checkpoint"):
            refuse_contradictions(saved, other, "fit")


def test_a_measurement_may_choose_its_views_but_not_another_model() -> None:
    saved = {"model": {"eps": 1e-8, "tta": "none"}, "data": {"image_size": 64}}
    refuse_contradictions(saved, {"model": {"eps": 1e-8, "tta": "flip"}, "data": {"image_size": 96}}, "test")
    with pytest.raises(UsageError, match=r"`model\.eps`"):
        refuse_contradictions(saved, {"model": {"eps": 1.0, "tta": "none"}, "data": {"image_size": 64}}, "test")


def test_a_measurement_starts_from_the_data_of_the_run() -> None:
    checkpoint = {
        "hyper_parameters": {"class_names": ["a", "b"], "eps": 1e-8, "seed": 7},
        "datamodule_hyper_parameters": {"root": "faces", "splits": "splits.csv", "unknown": 1},
        "EmotionDataModule": {"root": "/faces", "splits": "/splits.csv"},
    }
    data = checkpoint_config(checkpoint, "test")["data"]
    files = {"root": "/faces", "splits_file": "/splits.csv", "corrections": None}
    assert data == files | {"class_names": ["a", "b"], "split_seed": 7}


def test_a_file_that_is_no_checkpoint_of_ours_is_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    with pytest.raises(DataError, match="not a checkpoint of an emotion_lightning run"):
        load_checkpoint(str(tmp_path / "other.ckpt"))


def advice(capsys: pytest.CaptureFixture[str]) -> tuple[str, list[str]]:
    error = fails(capsys, 1, "report", str(RUN))
    return error, shlex.split(re.split(" does|,", error.partition("python -m emotion_lightning ")[2])[0])


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda best: None, ""),
        (Path.unlink, "best.ckpt: no such file"),
        (lambda best: best.rename("mine.ckpt"), "best.ckpt: no such file"),
        (lambda best: best.write_bytes(b""), "best.ckpt: the file is empty"),
        (lambda best: best.write_bytes(best.read_bytes()[:5000]), "best.ckpt: damaged"),
        (lambda best: best.write_text("<html>"), "best.ckpt: is a page for a browser"),
        (lambda best: torch.save({}, best), "best.ckpt: not a checkpoint of an emotion_lightning run"),
    ],
)
def test_a_report_of_a_run_without_results_says_what_measures_it(
    in_an_empty_folder: None,
    trained: Path,
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[Path], object],
    said: str,
) -> None:
    shutil.rmtree(RUN / "report")
    spoil(trained / "best.ckpt")
    error, command = advice(capsys)
    assert said in error
    assert command[:2] == ["test", "--ckpt_path"]
    assert command[2] == str(trained / ("last.ckpt" if said else "best.ckpt"))
    main([*command, *QUIET])
    main(["report", str(RUN)])
    assert (RUN / "report/index.html").is_file()


def test_a_report_of_a_run_without_a_checkpoint_says_where_to_put_one(
    in_an_empty_folder: None, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(RUN / "report")
    trained.rename("elsewhere")
    assert "give the folder of a run" in fails(capsys, 1, "report", str(RUN))
    trained.mkdir()
    error, command = advice(capsys)
    assert f"{trained}/best.ckpt: no such file; put one there that can be loaded" in error
    shutil.copy("elsewhere/epoch_000.ckpt", trained / "best.ckpt")
    main([*command, *QUIET])
    main(["report", str(RUN)])


def test_a_report_of_a_run_without_a_test_split_names_the_validation(
    in_an_empty_folder: None, trained: Path, faces: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(faces, "own", ignore=shutil.ignore_patterns("test"))
    main(["fit", "--data.root", "own", *TINY, *QUIET, "--trainer.max_epochs", "1"])
    shutil.rmtree(RUN)
    RUN.with_name("version_1").rename(RUN)
    shutil.rmtree(RUN / "report")
    _, command = advice(capsys)
    main([*command, *QUIET])
    main(["report", str(RUN)])


def test_a_report_of_a_run_whose_data_is_gone_asks_for_it(
    in_an_empty_folder: None, trained: Path, faces: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(RUN / "report")
    checkpoint = torch.load(trained / "best.ckpt", weights_only=True)
    checkpoint["EmotionDataModule"]["root"] = "/gone"
    torch.save(checkpoint, trained / "best.ckpt")
    error, command = advice(capsys)
    assert "as its data is not in /gone" in error
    main([*(str(faces) if word == "FOLDER" else word for word in command), *QUIET])
    main(["report", str(RUN)])


@pytest.mark.parametrize("command", ["fit", "test"])
def test_a_run_whose_splits_version_0_1_cut_keeps_them(
    command: str, faces: Path, in_an_empty_folder: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(faces / "train", "flat")
    with monkeypatch.context() as patch:  # another cut than today's
        patch.setattr(manifest, "stratified_group_split", lambda *args: stratified_group_split(*args[:4], args[4] + 1))
        main(["fit", "--data.root", "flat", *TINY, *QUIET, "--checkpoint.every_n_epochs", "1"])
    splits, path = RUN / "splits.csv", RUN / "checkpoints/epoch_001.ckpt"
    before, checkpoint = splits.read_bytes(), torch.load(path, weights_only=True)
    del checkpoint["EmotionDataModule"]["cut"]
    torch.save(checkpoint, path)
    main([command, "--ckpt_path", str(path), *QUIET])
    assert splits.read_bytes() == before
    if command == "test":
        with (RUN / "report/test/predictions.csv").open() as file:
            measured = {row["filepath"] for row in csv.DictReader(file)}
        with splits.open() as file:
            assert measured == {row["filepath"] for row in csv.DictReader(file) if row["split"] == "test"}


@pytest.mark.parametrize("command", ["fit", "test"])
def test_a_run_whose_seed_was_that_of_its_split_keeps_the_split(
    command: str, faces: Path, in_an_empty_folder: None
) -> None:
    seeds = ["--seed_everything", "7", "--data.split_seed", "7"]
    main(["fit", "--data.root", str(faces / "train"), *TINY, *QUIET, *seeds, "--checkpoint.every_n_epochs", "1"])
    splits, path = RUN / "splits.csv", RUN / "checkpoints/epoch_001.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    for name in ("split_seed", "folds", "fold"):  # as the checkpoints of before have none
        del checkpoint["datamodule_hyper_parameters"][name]
    torch.save(checkpoint, path)
    main([command, "--ckpt_path", str(path), *QUIET])  # which refuses other splits
    if command == "test":
        with (RUN / "report/test/predictions.csv").open() as file, splits.open() as cut:
            measured = {row["filepath"] for row in csv.DictReader(file)}
            assert measured == {row["filepath"] for row in csv.DictReader(cut) if row["split"] == "test"}


@pytest.mark.parametrize(("typed", "ran"), [(32, "32-true"), ("bf16", "bf16-mixed"), ("16", "16-mixed")])
def test_a_short_word_for_the_precision_that_ran_is_no_contradiction(typed: int | str, ran: str) -> None:
    config = {"trainer.precision": typed}
    assert list(keep_found(config, {"trainer": {"precision": ran}})) == []
    assert config == {"trainer.precision": ran}
