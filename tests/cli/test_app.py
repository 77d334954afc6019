import csv
import json
import re
import shutil
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from emotion_lightning.cli import main
from emotion_lightning.cli.commands import COMMANDS
from emotion_lightning.model.module import EmotionClassifier
from emotion_lightning.report.history import read_history
from emotion_lightning.schedule import STAGES
from tests.helpers import QUIET, RUN, TINY, fails

pytestmark = pytest.mark.usefixtures("in_an_empty_folder")


@pytest.fixture(scope="module")
def finished(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a run has ended."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["emotion_lightning"])
        main(["fit", "--data.root", str(faces), *TINY, "--checkpoint.every_n_epochs", "1", *QUIET])
    return folder


@pytest.fixture
def trained(finished: Path) -> Path:
    """The checkpoints of that run, in a copy of its own."""
    shutil.copytree(finished / "lightning_logs", "lightning_logs")
    return RUN / "checkpoints"


def test_a_run_from_fit_to_predictions(faces: Path, trained: Path) -> None:
    assert {path.name for path in trained.iterdir()} >= {"best.ckpt", "last.ckpt", "epoch_000.ckpt"}
    config = yaml.safe_load((RUN / "config.yaml").read_text())
    assert config["trainer"]["precision"] == "16-mixed"  # as resolved from the options, for any machine
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
        *("intervals", "leaked", "leak_free", "audit", "bias_warnings", "calibration", "tta", "seed", "weights"),
        "images",
    }
    assert metrics["leak_free"]["n"] == 18
    assert metrics["leaked"] == 0
    assert metrics["versions"]["torch"] == version("torch")

    main(["predict", "--ckpt_path", str(trained / "best.ckpt"), "--data.root", str(faces / "test"), *QUIET])
    with (RUN / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 18
    right = sum(Path(row["filepath"]).parent.name == row["predicted"] for row in rows)
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
    assert {f"lr/{stage}" for stage in STAGES} <= names
    assert [point.value for point in events.Scalars("schedule/trainable_stages")] == [1, 2, 6]
    assert [point.value for point in events.Scalars("schedule/augmentation_phase")] == [1, 2, 2]
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
    main(["predict", "--ckpt_path", last, "--data.root", str(faces / "test"), *QUIET])
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


def test_configs_layer_and_the_command_line_wins(capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.yaml").write_text("model: {dropout_rate: 0.1, lr_backbone: 1.0e-4}\ndata: {batch_size: 4}\n")
    Path("b.yaml").write_text("model: {dropout_rate: 0.2}\n")
    with pytest.raises(SystemExit):
        main(["fit", "--config", "a.yaml", "--config", "b.yaml", "--data.batch_size", "9", "--print_config"])
    config = yaml.safe_load(capsys.readouterr().out)
    assert (config["model"]["dropout_rate"], config["model"]["lr_backbone"], config["data"]["batch_size"]) == (
        0.2,
        1e-4,
        9,
    )


def test_a_schedule_of_sizes_is_part_of_a_runs_configuration(faces: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = ["--data.resolution_schedule", "{0: 24, 2: 32}"]
    main(["fit", "--data.root", str(faces), *TINY, *sizes, *QUIET])
    written = yaml.safe_load((RUN / "config.yaml").read_text())["data"]["resolution_schedule"]
    assert {int(epoch): side for epoch, side in written.items()} == {0: 24, 2: 32}
    last = str(RUN / "checkpoints" / "last.ckpt")
    for other in ("{0: 24, 1: 32}", "null"):
        said = fails(capsys, 2, "fit", "--ckpt_path", last, "--data.resolution_schedule", other)
        assert "contradicts the checkpoint, whose run has {0: 24, 2: 32}" in said
    main(["fit", "--ckpt_path", last, *sizes, *QUIET])
    events = EventAccumulator(str(RUN))
    events.Reload()
    assert [point.value for point in events.Scalars("schedule/image_side")] == [24, 24, 32]


def test_a_run_without_logger_ends_well(faces: Path) -> None:
    main(["fit", "--data.root", str(faces), *TINY, *QUIET, "--trainer.logger", "false"])
    assert Path("checkpoints/best.ckpt").is_file()


def test_structured_options_go_with_a_checkpoint(trained: Path) -> None:
    logger = ["--trainer.logger", "CSVLogger", "--trainer.logger.save_dir", "csv"]
    main(["test", "--ckpt_path", str(trained / "best.ckpt"), *logger, *QUIET])
    assert list(Path("csv").rglob("metrics.csv"))


def test_printed_config_is_that_of_the_checkpoint(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["test", "--ckpt_path", str(trained / "best.ckpt"), "--print_config"])
    assert yaml.safe_load(capsys.readouterr().out)["model"]["backbone"] == "test_resnet"


def test_another_output_folder_for_a_resume_is_refused(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = ["fit", "--ckpt_path", str(trained / "epoch_000.ckpt"), "--trainer.default_root_dir", "elsewhere"]
    assert "--trainer.default_root_dir elsewhere" in fails(capsys, 2, *args)


def test_unwritable_predictions_are_said_first(trained: Path, faces: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("taken").write_text("a file")
    args = ["predict", "--ckpt_path", str(trained / "best.ckpt"), "--data.root", str(faces / "test")]
    assert "taken" in fails(capsys, 1, *args, "--predictions.output", "taken/out.csv", *QUIET)
    assert "is a folder" in fails(capsys, 2, *args, "--predictions.output", ".", *QUIET)


def test_predict_asks_which_images(capsys: pytest.CaptureFixture[str], trained: Path) -> None:
    assert "--data.root is missing" in fails(capsys, 2, "predict", "--ckpt_path", str(trained / "best.ckpt"))


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


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["fit", "--model.lr_bacbone", "1"], "did you mean --model.lr_backbone?"),
        (["fit", "--model.lr_b", "1"], "unrecognized arguments: --model.lr_b 1"),
        (["fit", "--dat.root", "x"], "did you mean --data.root?"),
        (["fit", "--model.lr_backbone", "fast"], "model.lr_backbone"),
        (["fit", "--config", "missing.yaml"], "missing.yaml"),
        (["fot"], "'fot'"),
        (["test"], "test needs --ckpt_path"),
        (["--config", "top.yaml", "test"], "put test first"),
        (["fit", "--seed_everything", "-1"], "--seed_everything -1"),
        (["fit", "--seed_everything", "true"], "--seed_everything True"),
        (["fit", "--data.layout", "raf"], "rafdb"),
        (
            ["fit", "--data.drop_classes", "[sad]", *TINY],
            "--data.drop_classes is for data of your own: give --data.root",
        ),
        (["fit", "--model.backbone", "resnet500"], "did you mean resnet50"),
        (
            ["fit", "--unfreeze.schedule", "{0: classifier, 5: layer7}"],
            "error: --unfreeze.schedule names an unknown stage 'layer7' at epoch 5",
        ),
        (["fit", *TINY, "--ema.decay", "2"], "--ema.decay 2"),
        (["fit", "--data.batch_size", "1"], "--data.batch_size 1"),
        (
            ["fit", *TINY, "--data.resolution_schedule", "{0: 64}"],
            "--data.resolution_schedule has images of 64 pixels at epoch 0",
        ),
        (["fit", *TINY, "--trainer.max_epochs", "0"], "--trainer.max_epochs 0 trains nothing"),
        (["fit", *TINY, "--trainer.max_epochs", "-1"], "--trainer.max_epochs gives no end"),
        (["fti"], "did you mean fit?"),
        (["fit", "--trainer.accelerator", "gpu", *TINY], "gpu backend"),
    ],
)
def test_wrong_usage_takes_one_line_and_status_2(
    capsys: pytest.CaptureFixture[str], args: list[str], message: str
) -> None:
    Path("top.yaml").write_text("test: {ckpt_path: best.ckpt}\n")
    if message == "gpu backend" and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    error = fails(capsys, 2, *args)
    assert message in error
    assert error.count("\n") == 1


def test_a_wrong_key_in_a_config_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    Path("typo.yaml").write_text("model: {lr_clasifier: 0.1}\n")
    assert "did you mean --model.lr_classifier?" in fails(capsys, 2, "fit", "--config", "typo.yaml")


def test_data_errors_take_one_line_and_status_1(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    error = fails(capsys, 1, "fit", *TINY, "--data.root", "nowhere")
    assert "nowhere" in error
    assert error.count("\n") == 1
    (tmp_path / "empty").mkdir()
    assert "empty" in fails(capsys, 1, "fit", *TINY, "--data.root", "empty")


@pytest.mark.parametrize("path", ["best", "https://example.org/a.ckpt", "missing.ckpt"])
def test_checkpoints_that_are_no_files_are_refused(capsys: pytest.CaptureFixture[str], path: str) -> None:
    assert f"--ckpt_path {path}: no such file" in fails(capsys, 1, "test", "--ckpt_path", path)


def test_damaged_and_foreign_checkpoints_are_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    Path("broken.ckpt").write_bytes(b"PK no checkpoint")
    assert "broken.ckpt" in fails(capsys, 1, "test", "--ckpt_path", "broken.ckpt")
    torch.save({"state_dict": {}}, "foreign.ckpt")
    assert "not a checkpoint of an emotion_lightning run" in fails(capsys, 1, "test", "--ckpt_path", "foreign.ckpt")

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[Path]]:
            return Path.touch, (tmp_path / "ran",)

    torch.save({"evil": Evil()}, "evil.ckpt")
    assert "may run code" in fails(capsys, 1, "test", "--ckpt_path", "evil.ckpt")
    assert not (tmp_path / "ran").exists()


def test_checkpoint_of_other_classes_names_them(
    capsys: pytest.CaptureFixture[str], trained: Path, faces: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(faces, other)
    for split in ("train", "val", "test"):
        (other / split / "angry").rename(other / split / "sad")
    error = fails(capsys, 1, "test", "--ckpt_path", str(trained / "best.ckpt"), "--data.root", str(other))
    assert "angry" in error
    assert "sad" in error


def test_data_of_another_spelling_and_order_is_mapped_by_name(trained: Path, faces: Path, tmp_path: Path) -> None:
    main(["test", "--ckpt_path", str(trained / "best.ckpt"), *QUIET])
    before = json.loads((RUN / "report/test/metrics.json").read_text())
    other = tmp_path / "other"
    shutil.copytree(faces, other)
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


def test_an_interrupted_run_says_how_to_go_on(
    faces: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def interrupt(module: EmotionClassifier) -> None:
        if module.current_epoch == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(EmotionClassifier, "on_train_batch_start", lambda module, *_: interrupt(module))
    handler = signal.getsignal(signal.SIGINT)
    with caplog.at_level("INFO", "lightning.pytorch"), pytest.raises(SystemExit) as stopped:
        main(["fit", "--data.root", str(faces), *TINY, *QUIET])
    signal.signal(signal.SIGINT, handler)  # Lightning switches it off
    assert stopped.value.code == 130
    last = RUN.resolve() / "checkpoints" / "last.ckpt"
    assert f"Interrupted in epoch 1; to go on: fit --ckpt_path {last}" in caplog.text
    monkeypatch.undo()


def test_help_of_a_checkpoint_is_ours(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["test", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "Checkpoint file of an earlier run" in text
    assert "hpc" not in text


def test_without_a_progress_bar_each_epoch_has_a_line(faces: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "lightning.pytorch"):
        main(["fit", "--data.root", str(faces), *TINY, *QUIET])
    assert [line for line in caplog.messages if "validation loss" in line][2].startswith("Epoch 2: validation loss")
    shares = [re.search(r"training .* \((\S+) of (\S+) million parameters\)", line) for line in caplog.messages]
    first, second, last = [share.groups() for share in shares if share]
    assert float(first[0]) < float(second[0]) < float(last[0]) == float(last[1])


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--help"])
    text = capsys.readouterr().out
    for name, meaning in COMMANDS.items():
        assert name in text
        with pytest.raises(SystemExit):
            main([name, "--help"])
        assert meaning in " ".join(capsys.readouterr().out.split())


def test_views_may_be_averaged_in_a_test_but_not_changed_in_a_resume(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["test", "--ckpt_path", str(trained / "best.ckpt"), "--model.tta", "flip", *QUIET])
    metrics = json.loads((RUN / "report/test/metrics.json").read_text())
    assert (metrics["tta"], metrics["calibration"]["fitted_with_tta"]) == ("flip", "none")
    said = fails(capsys, 2, "fit", "--ckpt_path", str(trained / "last.ckpt"), "--model.tta", "flip", *QUIET)
    assert "--model.tta flip contradicts the checkpoint" in said


def test_a_resume_adds_to_where_a_run_comes_from_and_leaves_its_curves_alone(faces: Path, trained: Path) -> None:
    main(["fit", "--ckpt_path", str(trained / "epoch_000.ckpt"), *QUIET])
    assert [start["epoch"] for start in json.loads((RUN / "provenance.json").read_text())] == [0, 1]
    accuracy = read_history(RUN)["val/accuracy"]
    assert list(accuracy) == [0, 1, 2]
    events = EventAccumulator(str(RUN))
    events.Reload()
    assert len({event.step for event in events.Scalars("val/loss")}) == 3  # the best was measured, and not logged


def test_a_validation_of_a_checkpoint_is_measured_like_a_test(trained: Path) -> None:
    before = json.loads((RUN / "report/val/metrics.json").read_text())
    shutil.rmtree(RUN / "report")
    main(["validate", "--ckpt_path", str(trained / "best.ckpt"), *QUIET])
    after = json.loads((RUN / "report/val/metrics.json").read_text())
    assert {**before, "checkpoint": ""} == {**after, "checkpoint": ""}


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


@pytest.mark.parametrize("module", ["torch._dynamo.exc", "torch._inductor.exc", "somewhere"])
def test_a_machine_that_cannot_compile_is_told_in_one_line(
    faces: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], module: str
) -> None:
    broken = type("Broken", (RuntimeError,), {"__module__": module})

    def fit(*args: object, **options: object) -> None:
        raise broken("No working C++ compiler found\nand more")

    monkeypatch.setattr("lightning.pytorch.Trainer.fit", fit)
    compiled = ["fit", "--data.root", str(faces), *TINY, *QUIET, "--model.compile", "true"]
    if module == "somewhere":
        with pytest.raises(broken):
            main(compiled)
    else:
        assert "--model.compile true needs" in fails(capsys, 2, *compiled)


def test_a_progress_bar_of_ones_own_takes_the_place_of_ours(faces: Path) -> None:
    bar = "{class_path: lightning.pytorch.callbacks.TQDMProgressBar, init_args: {refresh_rate: 3}}"
    main(["fit", "--data.root", str(faces), *TINY, "--trainer.callbacks", f"[{bar}]", "--trainer.fast_dev_run", "true"])


def test_the_overview_needs_no_library() -> None:
    program = "import runpy, sys; runpy.run_module('emotion_lightning', run_name='__main__'); print(*sys.modules)"
    for args in ([], ["--help"]):
        shown = subprocess.run(
            [sys.executable, "-c", program, *args], capture_output=True, text=True, check=True
        ).stdout
        text, modules = shown.rsplit("\n", 2)[:2]
        assert all(f"  {command} " in text for command in COMMANDS)
        assert not {"torch", "lightning", "jsonargparse", "numpy"} & set(modules.split())
