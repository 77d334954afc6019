import csv
import errno
import json
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from emotion_lightning.cli import main
from emotion_lightning.cli.app import EmotionCLI
from emotion_lightning.errors import DataError
from emotion_lightning.runs.config import run_options
from emotion_lightning.runs.history import read_history
from emotion_lightning.schedule import STAGES
from tests.helpers import QUIET, RUN, TINY, Batches, Lab, assert_equal, fails

pytestmark = pytest.mark.usefixtures("in_an_empty_folder")


def test_a_run_from_fit_to_predictions(faces: Path, trained: Path) -> None:
    assert {path.name for path in trained.iterdir()} >= {"best.ckpt", "last.ckpt", "epoch_000.ckpt"}
    config = yaml.safe_load((RUN / "config.yaml").read_text())
    assert config["trainer"]["precision"] != "16-mixed"  # but what this machine computed in
    assert config["data"]["root"] == str(faces)

    main(["test", "--ckpt_path", str(trained / "best.ckpt"), *QUIET])
    metrics = json.loads((RUN / "report/test/metrics.json").read_text())
    assert (metrics["split"], metrics["n"]) == ("test", 18)
    assert set(metrics["per_class"]) == {"angry", "happy", "surprised"}
    assert set(metrics["per_class"]["happy"]) == {
        *("precision", "recall", "f1", "support", "roc_auc", "average_precision")
    }
    assert metrics["per_class"]["happy"]["support"] == 6
    assert all(low <= metrics[name] <= high for name, (low, high) in metrics["intervals"].items())
    assert set(metrics["intervals"]) == {"accuracy", "f1_macro", "f1_weighted"}
    assert set(metrics) == {
        *("split", "data", "n", "loss", "accuracy", "f1_macro", "f1_weighted", "per_class", "checkpoint", "versions"),
        *(
            "intervals",
            "leaked",
            "leak_free",
            "audit",
            "bias_warnings",
            "calibration",
            "tta",
            "seed",
            "weights",
            "parameters",
        ),
        *("images", "classes", "of", "notes", "other_data", "unknown_classes", "f1_macro_present", "selective"),
        *("corrected", "leak_free_of_both", "subjects", "groups"),
    }
    assert metrics["leak_free"]["n"] == 18
    assert metrics["leaked"] == 0
    assert metrics["versions"]["torch"] == version("torch")

    main(["predict", "--ckpt_path", str(trained / "best.ckpt"), str(faces / "test"), "--output", "predictions.csv"])
    with Path("predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 18
    right = sum(Path(row["path"]).parent.name == row["predicted"] for row in rows)
    assert right / 18 == pytest.approx(metrics["accuracy"])
    for row in rows:
        probabilities = {name: float(row[name]) for name in ("angry", "happy", "surprised")}
        assert sum(probabilities.values()) == pytest.approx(1, abs=1e-5)
        assert max(probabilities, key=lambda name: probabilities[name]) == row["predicted"]
    assert [path.name for path in Path("lightning_logs").iterdir()] == ["version_0"]  # only fit makes runs


def test_validation_in_a_new_process_gives_the_figure_of_the_run(trained: Path) -> None:
    best = torch.load(trained / "best.ckpt", weights_only=True)["callbacks"]["Checkpoint"]["best_score"]
    command = ["test", "--ckpt_path", str(trained / "best.ckpt"), "--data.test_split", "val", *QUIET]
    subprocess.run([sys.executable, "-m", "emotion_lightning", *command], check=True, capture_output=True)
    assert json.loads((RUN / "report/val/metrics.json").read_text())["f1_macro"] == pytest.approx(best, abs=1e-6)


def test_figures_of_every_epoch_are_in_tensorboard(trained: Path) -> None:
    events = EventAccumulator(str(RUN))
    events.Reload()
    names = set(events.Tags()["scalars"])
    for split, suffix in (("train", "_dominant"), ("val", "")):
        for figure in ("accuracy", "f1_macro", "f1_weighted"):
            assert f"{split}/{figure}{suffix}" in names
        for figure in ("precision", "recall", "f1"):
            assert f"{split}_per_class/{figure}_happy{suffix}" in names
        assert len(events.Scalars(f"{split}/loss")) == 3
    assert {f"curves/lr_{stage}" for stage in STAGES} <= names
    assert [point.value for point in events.Scalars("train_schedule/trainable_stages")] == [1, 2, 6]
    assert [point.value for point in events.Scalars("train_schedule/augmentation_phase")] == [1, 2, 2]
    for split in ("train", "val"):
        assert all(point.value > 0 for point in events.Scalars(f"{split}/images_per_second"))
        assert len(events.Scalars(f"{split}/epoch_seconds")) == 3


def test_resume_goes_on_in_the_same_run_with_its_options(faces: Path, trained: Path) -> None:
    whole = torch.load(trained / "last.ckpt", weights_only=True)
    config = (RUN / "config.yaml").read_text()
    main(["fit", "--ckpt_path", str(trained / "epoch_000.ckpt"), *QUIET])
    resumed = torch.load(trained / "last.ckpt", weights_only=True)
    for key in ("state_dict", "raw_state_dict"):
        assert all(torch.equal(value, resumed[key][name]) for name, value in whole[key].items())
    assert whole["hyper_parameters"] == resumed["hyper_parameters"]
    assert (RUN / "config.yaml").read_text() == config
    assert [path.name for path in Path("lightning_logs").iterdir()] == ["version_0"]


def test_resume_auto_begins_a_run_and_goes_on_with_it(
    faces: Path, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = torch.load(trained / "last.ckpt", weights_only=True)
    job = ["fit", "--data.root", str(faces), *TINY, *QUIET, "--resume", "auto"]
    shutil.copy(trained / "epoch_000.ckpt", trained / "last.ckpt")
    main(job)
    assert [path.name for path in Path("lightning_logs").iterdir()] == ["version_0"]
    assert_equal(whole["state_dict"], torch.load(trained / "last.ckpt", weights_only=True)["state_dict"])
    main(
        [
            *job,
            "--trainer.default_root_dir",
            "elsewhere",
            "--trainer.max_epochs",
            "1",
            "--unfreeze.schedule",
            "{0: all}",
        ]
    )
    config = Path("elsewhere/lightning_logs/version_0/config.yaml").read_text()
    assert "\nresume" not in config  # which belongs to a start, and would be refused by other commands
    assert "contradicts the checkpoint" in fails(capsys, 2, *job, "--trainer.max_epochs", "4")
    assert "leave out --ckpt_path, or --resume" in fails(capsys, 2, *job, "--ckpt_path", "last")
    assert "leave out --resume" in fails(capsys, 2, *job, "--dry_run")


def test_last_and_best_are_those_of_the_newest_run(
    trained: Path, faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(RUN, "lightning_logs/version_1")
    main(["test", "--ckpt_path", "best", *QUIET])
    assert Path("lightning_logs/version_1/report/test/metrics.json").is_file()
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir("empty")
    for command, *more in (("fit",), ("validate",), ("predict", str(faces)), ("export", "--output", "x"), ("demo",)):
        said = fails(capsys, 2, command, "--ckpt_path", "last", *more)
        assert "--ckpt_path last is that of the newest run, and no run in" in said


def test_a_resume_goes_on_with_the_options_of_the_report(trained: Path) -> None:
    for start, given in (
        ("epoch_000", ["--report.write", "false", "--report.baseline_accuracy", "0.25"]),
        ("epoch_001", []),
    ):
        main(["fit", "--ckpt_path", str(trained / f"{start}.ckpt"), *QUIET[:4], *given])
        saved = run_options(torch.load(trained / "last.ckpt", weights_only=True))["report"]
        assert (saved["write"], saved["baseline_accuracy"]) == (False, 0.25)


def test_a_run_from_python_goes_on_with_the_options_that_its_checkpoint_does_not_hold(lab: Lab, tmp_path: Path) -> None:
    lab.trainer().fit(lab.model(), lab.data())
    folder = tmp_path / "run" / "checkpoints"
    whole = torch.load(folder / "last.ckpt", weights_only=True)
    given = [*TINY[-8:], "--trainer.precision", "32-true", "--trainer.accelerator", "cpu", *QUIET]
    main(["fit", "--ckpt_path", str(folder / "epoch_000.ckpt"), *given])
    assert_equal(whole["state_dict"], torch.load(folder / "last.ckpt", weights_only=True)["state_dict"])


def test_a_checkpoint_carries_how_its_data_was_read(faces: Path, capsys: pytest.CaptureFixture[str]) -> None:
    merge = [
        "--data.merge_classes",
        "{up: [joy, surprise]}",
        "--data.layout",
        "tree",
        "--data.group_regex",
        r"(\d)\.png",
    ]
    main(["fit", "--data.root", str(faces), *TINY, "--trainer.max_epochs", "1", *merge, *QUIET])
    last = str(RUN / "checkpoints" / "last.ckpt")
    main(["test", "--ckpt_path", last, *QUIET])
    metrics = json.loads((RUN / "report/test/metrics.json").read_text())
    assert {name: figures["support"] for name, figures in metrics["per_class"].items()} == {"angry": 6, "up": 12}
    main(["predict", "--ckpt_path", last, str(faces / "test")])
    for options in (
        ("--data.merge_classes", "{up: [happy], down: [surprise]}"),
        ("--data.merge_classes", "null"),
        ("--data.drop_classes", "[joy]"),
    ):
        assert f"{options[0]} " in fails(capsys, 2, "fit", "--ckpt_path", last, *options)
    main(["fit", "--ckpt_path", last, *merge, *QUIET])  # the same is no contradiction


@pytest.mark.parametrize(
    ("subcommand", "options", "message"),
    [
        ("fit", ("--model.dropout_rate", "0.3"), r"--model.dropout_rate 0.3 contradicts the checkpoint"),
        ("test", ("--model.dropout_rate", "0.3"), r"--model.dropout_rate 0.3 contradicts the checkpoint"),
        ("fit", ("--trainer.max_epochs", "9"), "--trainer.max_epochs 9 contradicts the checkpoint, whose run has 3"),
        ("fit", ("--ema.decay", "0.5"), "--ema.decay 0.5 contradicts"),
        ("fit", ("--unfreeze.schedule", "{0: all}"), "--unfreeze.schedule {0: 'all'} contradicts"),
        ("fit", ("--seed_everything", "1"), "--seed_everything 1 contradicts"),
        (
            "fit",
            ("--data.resolution_schedule", "{0: 24, 1: 32}"),
            "--data.resolution_schedule {0: 24, 1: 32} contradicts",
        ),
    ],
)
def test_options_that_contradict_the_checkpoint_are_refused(
    trained: Path, capsys: pytest.CaptureFixture[str], subcommand: str, options: tuple[str, str], message: str
) -> None:
    assert message in fails(capsys, 2, subcommand, "--ckpt_path", str(trained / "last.ckpt"), *options)


def test_options_that_say_the_same_are_no_contradiction(trained: Path) -> None:
    main(["test", "--ckpt_path", str(trained / "best.ckpt"), "--model.dropout_rate", "0.5", *QUIET])


def test_restoring_needs_no_pretrained_weights(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = torch.load(trained / "last.ckpt", weights_only=True)
    checkpoint["hyper_parameters"]["pretrained"] = "gone.safetensors"
    torch.save(checkpoint, trained / "last.ckpt")
    main(["test", "--ckpt_path", str(trained / "last.ckpt"), *QUIET])


def test_training_without_data_root_uses_the_drawn_faces() -> None:
    main(["fit", *TINY, "--data.batch_size", "16", "--trainer.fast_dev_run", "true", *QUIET])


def test_a_run_without_logger_has_its_folder_all_the_same(faces: Path) -> None:
    main(
        [
            "fit",
            "--data.root",
            str(faces),
            *TINY,
            *QUIET,
            "--trainer.logger",
            "false",
            "--checkpoint.every_n_epochs",
            "1",
        ]
    )
    assert {"history.csv", "config.yaml", "provenance.json", "report"} <= {path.name for path in RUN.iterdir()}
    shutil.copy(RUN / "checkpoints/epoch_000.ckpt", RUN / "checkpoints/last.ckpt")
    main(["fit", "--ckpt_path", "version_0", *QUIET])
    assert list(read_history(RUN)["train/loss"]) == [0, 1, 2]
    assert [path.name for path in Path().iterdir()] == ["lightning_logs"]
    assert [path.name for path in Path("lightning_logs").iterdir()] == ["version_0"]


def test_structured_options_go_with_a_checkpoint(trained: Path) -> None:
    logger = ["--trainer.logger", "CSVLogger", "--trainer.logger.save_dir", "csv"]
    main(["test", "--ckpt_path", str(trained / "best.ckpt"), *logger, *QUIET])
    assert list(Path("csv").rglob("metrics.csv"))


def test_another_output_folder_for_a_resume_is_refused(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = ["fit", "--ckpt_path", str(trained / "epoch_000.ckpt"), "--trainer.default_root_dir", "elsewhere"]
    assert "--trainer.default_root_dir elsewhere" in fails(capsys, 2, *args)


def test_a_checkpoint_finds_its_data_from_any_folder(
    trained: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    checkpoint = torch.load(trained / "best.ckpt", weights_only=True)
    checkpoint["datamodule_hyper_parameters"]["root"] = "faces"  # as it was given, where it was given
    torch.save(checkpoint, trained / "best.ckpt")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    main(["test", "--ckpt_path", str(tmp_path / trained / "best.ckpt"), *QUIET])


def test_every_number_of_the_recipe_is_a_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["fit", "--print_config"])
    config = yaml.safe_load(capsys.readouterr().out)
    expected = {
        "model": {"backbone": "resnet50", "pretrained": True, "dropout_rate": 0.5, "hidden_features": 512}
        | {"lr_backbone": 1e-5, "lr_classifier": 1e-3, "weight_decay": 0.01, "eps": 1e-8, "pct_start": 0.1}
        | {"label_smoothing": 0.1, "mixup_alpha": 0.3, "cutmix_alpha": 1.0, "mix_prob": 0.8},
        "data": {"image_size": 224, "batch_size": 16},
        "ema": {"decay": 0.9999},
        "early_stopping": {"patience": 15, "min_delta": 0.001},
        "checkpoint": {"every_n_epochs": 5},
        "trainer": {"max_epochs": 80, "precision": "16-mixed", "gradient_clip_val": 1.0},
    }
    for group, options in expected.items():
        assert {name: config[group][name] for name in options} == options
    assert config["seed_everything"] == 42
    schedule = {int(epoch): stage for epoch, stage in config["unfreeze"]["schedule"].items()}
    assert schedule == {0: "classifier_only", 10: "layer4", 20: "layer3", 30: "layer2", 40: "all_layers"}


def test_data_errors_take_one_line_and_status_1(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    error = fails(capsys, 1, "fit", *TINY, "--data.root", "nowhere")
    assert "nowhere" in error
    assert error.count("\n") == 1
    (tmp_path / "empty").mkdir()
    assert "empty" in fails(capsys, 1, "fit", *TINY, "--data.root", "empty")


@pytest.mark.parametrize(
    ("path", "reason"),
    [("missing.ckpt", "no such file"), ("https://example.org/a.ckpt", "addresses are not fetched")],
)
def test_checkpoints_that_are_no_files_are_refused(capsys: pytest.CaptureFixture[str], path: str, reason: str) -> None:
    assert f"--ckpt_path {path}: {reason}" in fails(capsys, 1, "test", "--ckpt_path", path)


def test_the_best_of_no_run_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert "no run in lightning_logs has a best.ckpt" in fails(capsys, 2, "test", "--ckpt_path", "best")


def test_damaged_and_foreign_checkpoints_are_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    Path("broken.ckpt").write_bytes(b"PK no checkpoint")
    assert "broken.ckpt" in fails(capsys, 1, "test", "--ckpt_path", "broken.ckpt")
    for foreign in ({"state_dict": {}}, [1], {"hyper_parameters": 3}, {"hyper_parameters": {"class_names": ["a"]}}):
        torch.save(foreign, "foreign.ckpt")
        error = fails(capsys, 1, "test", "--ckpt_path", "foreign.ckpt")
        assert "not a checkpoint of an emotion_lightning run" in error

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[Path]]:
            return Path.touch, (tmp_path / "ran",)

    torch.save({"evil": Evil()}, "evil.ckpt")
    assert "may run code" in fails(capsys, 1, "test", "--ckpt_path", "evil.ckpt")
    assert not (tmp_path / "ran").exists()


def test_checkpoint_of_other_classes_names_them(
    capsys: pytest.CaptureFixture[str], trained: Path, faces: Path, tmp_path: Path
) -> None:
    other = shutil.copytree(faces, tmp_path / "other")
    for split in ("train", "val", "test"):
        (other / split / "angry").rename(other / split / "sad")
    error = fails(capsys, 1, "fit", "--ckpt_path", str(trained / "epoch_000.ckpt"), "--data.root", str(other), *QUIET)
    assert "angry" in error
    assert "sad" in error


def test_data_of_another_spelling_and_order_is_mapped_by_name(trained: Path, faces: Path, tmp_path: Path) -> None:
    main(["test", "--ckpt_path", str(trained / "best.ckpt"), *QUIET])
    before = json.loads((RUN / "report/test/metrics.json").read_text())
    other = shutil.copytree(faces, tmp_path / "other")
    for split in ("train", "val", "test"):
        (other / split / "angry").rename(other / split / "zz")
        (other / split / "zz").rename(other / split / "Anger")
        (other / split / "happy").rename(other / split / "joy")
    main(["test", "--ckpt_path", str(trained / "best.ckpt"), "--data.root", str(other), *QUIET])
    after = json.loads((RUN / "report/test/metrics.json").read_text())
    assert after["per_class"] == before["per_class"]


def test_unwritable_output_folder_is_named(capsys: pytest.CaptureFixture[str], faces: Path) -> None:
    Path("taken").write_text("a file")
    error = fails(capsys, 1, "fit", "--data.root", str(faces), *TINY, *QUIET, "--trainer.default_root_dir", "taken")
    assert "taken" in error


def test_views_may_be_averaged_in_a_test_but_not_changed_in_a_resume(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["test", "--ckpt_path", str(trained / "best.ckpt"), "--model.tta", "flip", *QUIET])
    metrics = json.loads((RUN / "report/test/metrics.json").read_text())
    assert (metrics["tta"], metrics["calibration"]["fitted_with_tta"]) == ("flip", "none")
    said = fails(capsys, 2, "fit", "--ckpt_path", str(trained / "last.ckpt"), "--model.tta", "flip", *QUIET)
    assert "--model.tta flip contradicts the checkpoint" in said


def test_deterministic_wins_over_autotuning(faces: Path) -> None:
    tried = ["fit", "--data.root", str(faces), *TINY, *QUIET, "--trainer.fast_dev_run", "true"]
    try:
        main(tried)
        assert torch.backends.cudnn.benchmark
        main([*tried, "--trainer.deterministic", "true"])
        assert not torch.backends.cudnn.benchmark
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(False)


def test_a_progress_bar_of_ones_own_takes_the_place_of_ours(faces: Path) -> None:
    bar = "{class_path: lightning.pytorch.callbacks.TQDMProgressBar, init_args: {refresh_rate: 3}}"
    main(["fit", "--data.root", str(faces), *TINY, "--trainer.callbacks", f"[{bar}]", "--trainer.fast_dev_run", "true"])


@pytest.mark.parametrize(("batches", "balance"), [(2, "sampler"), (0.5, "none"), (1, "none")])
def test_overfitting_takes_the_same_training_images_in_every_epoch(
    lab: Lab, batches: float, balance: Literal["none", "sampler"]
) -> None:
    seen, data = Batches(), lab.data(balance=balance)
    lab.trainer(callbacks=[seen], overfit_batches=batches).fit(lab.model(), data)
    assert {index for batch in seen.indices for index in batch} <= set(data.indices("train"))
    assert seen.indices[: len(seen.indices) // 3] * 3 == seen.indices


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--trainer.barebones", "true"], "--dry_run"),
        (["--trainer.callbacks", "[lightning.pytorch.callbacks.RichProgressBar]"], "rich"),
        (["--trainer.strategy", "ddp_spawn"], "strategy ddp_spawn: its processes hand nothing back"),
        (["--trainer.strategy", "ddp_fork_find_unused_parameters_true"], "give --trainer.strategy ddp"),
        (["--trainer.strategy", "ddp_notebook", "--dry_run"], "give --trainer.strategy ddp"),
        (["--trainer.logger", "WandbLogger"], "wandb"),
        (["--trainer.logger", "MLFlowLogger"], "mlflow"),
        (["--trainer.logger", "CometLogger"], "comet"),
    ],
    ids=str,
)
def test_what_cannot_be_built_is_said_in_one_line(
    faces: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, options: list[str], said: str
) -> None:
    monkeypatch.setattr("lightning.pytorch.callbacks.progress.rich_progress._RICH_AVAILABLE", False)
    error = fails(capsys, 2, "fit", "--data.root", str(faces), *TINY, *QUIET, *options)
    assert said in error
    assert error.count("\n") == 1
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(
    ("command", "option"), [("test", "--trainer.limit_test_batches"), ("validate", "--trainer.limit_val_batches")]
)
def test_a_command_that_measured_nothing_ends_with_status_1(
    trained: Path, capsys: pytest.CaptureFixture[str], command: str, option: str
) -> None:
    error = fails(capsys, 1, command, "--ckpt_path", str(trained / "best.ckpt"), *QUIET, option, "0")
    assert error == f"error: nothing was measured: see {option}\n"


def test_a_network_built_for_one_size_is_trained_tested_and_not_given_another(
    faces: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--model.backbone", "test_coatnet", "--data.image_size", "64", "--trainer.max_epochs", "1")
    main(["fit", "--data.root", str(faces), *TINY, *options, "--unfreeze.schedule", "{0: layer4}", *QUIET])
    best = str(RUN / "checkpoints/best.ckpt")
    main(["test", "--ckpt_path", best, *QUIET])
    message = fails(capsys, 2, "test", "--ckpt_path", best, "--data.image_size", "96", *QUIET)
    assert message.startswith("error: --data.image_size 96: the network was built for images of 64 pixels")


@pytest.mark.parametrize(
    ("options", "strategy"),
    [
        (["--trainer.accelerator", "cpu"], None),
        (["--trainer.accelerator", "cpu", "--trainer.devices", "2"], "ddp_find_unused_parameters_true"),
        (["--trainer.accelerator", "cpu", "--trainer.strategy", "ddp"], "ddp_find_unused_parameters_true"),
    ],
    ids=str,
)
def test_ddp_is_chosen_for_several_processes_only(
    faces: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], strategy: str | None
) -> None:
    def build(cli: object, **kwargs: Any) -> None:
        raise DataError(f"strategy {kwargs.get('strategy')}")

    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    monkeypatch.setattr("lightning.pytorch.cli.LightningCLI.instantiate_trainer", build)
    with pytest.raises(DataError, match=f"strategy {strategy}$"):
        EmotionCLI(["fit", "--data.root", str(faces), *TINY, *QUIET, *options])


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        (["--data.batch_size", "1000"], 2, "--data.batch_size 1000 is more than"),
        (["--trainer.val_check_interval", "1000"], 2, "--trainer.val_check_interval (1000) must be less"),
        (["--trainer.callbacks", "[DeviceStatsMonitor]"], 1, "psutil"),
        (["--trainer.callbacks", "[EMAWeightAveraging]"], 2, "use --ema.decay"),
    ],
    ids=str,
)
@pytest.mark.parametrize("earlier", [False, True])
def test_a_refused_run_leaves_nothing(
    faces: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    status: int,
    said: str,
    earlier: bool,
) -> None:
    monkeypatch.setattr("lightning.pytorch.callbacks.device_stats_monitor._PSUTIL_AVAILABLE", Missing("psutil"))
    if earlier:
        (RUN / "kept").mkdir(parents=True)
    before = sorted(Path().rglob("*"))
    error = fails(capsys, status, "fit", "--data.root", str(faces), *TINY, *QUIET, *options)
    assert said in error
    assert error.count("\n") == 1
    assert sorted(Path().rglob("*")) == before


class Missing(str):
    """What Lightning has in place of a package that is not there."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return False


@pytest.fixture
def read_only(in_an_empty_folder: None, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the folder of the run take no file; root may write everywhere else."""
    real, run = Path.touch, RUN.resolve()

    def touch(path: Path, *args: Any, **options: Any) -> None:
        if path.resolve().is_relative_to(run):
            raise OSError(errno.EROFS, "Read-only file system", str(path))
        real(path, *args, **options)

    monkeypatch.setattr(Path, "touch", touch)


@pytest.mark.usefixtures("read_only")
@pytest.mark.parametrize("command", ["test", "validate"])
def test_a_checkpoint_on_a_read_only_share_is_measured_into_a_folder_of_choice(
    trained: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    before = {path: path.stat().st_mtime_ns for path in RUN.rglob("*")}
    args = [command, "--ckpt_path", str(trained / "best.ckpt"), *QUIET]
    assert "choose another folder by --" in fails(capsys, 1, *args)
    main([*args, "--trainer.default_root_dir", "mine"])
    files = {"test": "report/test/metrics.json", "validate": "report/val/metrics.json"}
    assert (Path("mine") / files[command]).is_file()
    assert {path: path.stat().st_mtime_ns for path in RUN.rglob("*")} == before


@pytest.mark.usefixtures("read_only")
def test_a_run_on_a_read_only_share_is_resumed_in_a_copy(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = fails(capsys, 1, "fit", "--ckpt_path", str(trained / "epoch_000.ckpt"), *QUIET)
    assert "copy the run's folder to where you can write, and resume it there" in said
    shutil.copytree(RUN, "mine/version_0")
    main(["fit", "--ckpt_path", "mine/version_0/checkpoints/epoch_000.ckpt", *QUIET])


def test_a_runs_own_configuration_goes_with_its_checkpoint(trained: Path) -> None:
    config = ["--config", str(RUN / "config.yaml")]
    main(["fit", *config, "--ckpt_path", str(trained / "epoch_000.ckpt"), *QUIET])
    main(["test", *config, "--ckpt_path", str(trained / "best.ckpt"), *QUIET])


def test_a_run_that_was_moved_is_measured_where_it_is(trained: Path) -> None:
    checkpoint = torch.load(trained / "best.ckpt", weights_only=True)
    config = yaml.safe_load(checkpoint["config"])
    config["trainer"]["default_root_dir"] = "before"
    text = yaml.safe_dump(config)
    torch.save(checkpoint | {"config": text}, trained / "best.ckpt")
    (RUN / "config.yaml").write_text(text)
    main(["test", "--config", str(RUN / "config.yaml"), "--ckpt_path", str(trained / "best.ckpt"), *QUIET])
    assert (RUN / "report/test/metrics.json").is_file()
    assert not Path("before").exists()


def test_tables_of_other_data_may_not_lead_outside_because_those_of_the_run_may(
    trained: Path, faces: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = torch.load(trained / "best.ckpt", weights_only=True)
    checkpoint["datamodule_hyper_parameters"]["allow_outside"] = True
    torch.save(checkpoint, trained / "best.ckpt")
    Path("other").mkdir()
    rows = [f"{path},{path.parent.name}" for path in sorted(faces.glob("test/*/*.png"))]
    Path("other/test.csv").write_text("\n".join(["path,label", *rows]))
    other = ["test", "--ckpt_path", str(trained / "best.ckpt"), *QUIET, "--data.root", "other"]
    assert "18 images are outside of" in fails(capsys, 1, *other)
    main([*other, "--data.allow_outside", "true"])


def test_an_option_that_a_checkpoint_remembers_is_not_reported_as_if_typed(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = torch.load(trained / "best.ckpt", weights_only=True)
    config = yaml.safe_load(checkpoint["config"])
    config["report"]["baseline_predictions"] = "gone.csv"
    torch.save(checkpoint | {"config": yaml.safe_dump(config)}, trained / "best.ckpt")
    args = ["test", "--ckpt_path", str(trained / "best.ckpt"), *QUIET]
    said = "(the checkpoint remembers --report.baseline_predictions of its run)"
    assert said in fails(capsys, 2, *args)
    assert said not in fails(capsys, 2, *args, "--report.baseline_predictions", "none.csv")
    main([*args, "--report.baseline_predictions", "null"])
