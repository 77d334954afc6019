"""How a fit ends: what is trained, said and advised under options of the trainer that people use."""

import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from emotion_lightning.cli import main
from emotion_lightning.errors import DataError
from tests.helpers import QUIET, RUN, TINY, fails

pytestmark = pytest.mark.usefixtures("in_an_empty_folder")

CALLBACK = "{{class_path: lightning.pytorch.callbacks.{}, init_args: {{{}}}}}"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--trainer.callbacks", f"[{CALLBACK.format('Timer', 'duration: 00:01:00:00')}]"], "Best epoch"),
        (["--trainer.callbacks", f"[{CALLBACK.format('ModelCheckpoint', 'dirpath: theirs')}]"], "Best epoch"),
        (["--trainer.callbacks", f"[{CALLBACK.format('LearningRateMonitor', '')}]"], "Best epoch"),
        (["--trainer.overfit_batches", "2"], "Best epoch"),
        (["--trainer.logger", "CSVLogger", "--trainer.logger.save_dir", "csv"], "Best epoch"),
        (["--seed_everything", "7"], "Best epoch"),
        (["--trainer.enable_checkpointing", "false"], "--trainer.enable_checkpointing is false"),
        (["--trainer.limit_val_batches", "0"], "No checkpoint is the best"),
        (["--trainer.max_steps", "5"], "No checkpoint is the best"),
        (["--trainer.check_val_every_n_epoch", "4"], "No checkpoint is the best"),
    ],
    ids=str,
)
def test_a_run_says_what_it_ends_with(
    faces: Path, caplog: pytest.LogCaptureFixture, options: list[str], said: str
) -> None:
    with caplog.at_level("INFO", "lightning.pytorch"):
        main(["fit", "--data.root", str(faces), *TINY, *QUIET, *options])
    assert said in caplog.text


@pytest.mark.parametrize("options", [["--trainer.limit_train_batches", "0"], ["--trainer.max_time", "00:00:00:00"]])
def test_a_run_that_trained_nothing_ends_with_status_1(
    faces: Path, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    error = fails(capsys, 1, "fit", "--data.root", str(faces), *TINY, *QUIET, *options)
    assert "nothing was trained" in error
    assert options[0] in error


@pytest.mark.parametrize(
    ("folder", "without_test", "options"),
    [("runs", False, []), ("my runs", False, ["--trainer.limit_val_batches", "0"]), ("it's mine", True, [])],
    ids=["plain", "without validation", "without test"],
)
def test_the_next_commands_work_as_they_are(
    small_tree: Callable[..., Path],
    caplog: pytest.LogCaptureFixture,
    folder: str,
    without_test: bool,
    options: list[str],
) -> None:
    root = small_tree("some faces", without_test)
    with caplog.at_level("INFO", "lightning.pytorch"):
        main(["fit", "--data.root", str(root), *TINY, *QUIET, *options, "--trainer.default_root_dir", folder])
    [text] = [line for line in caplog.messages if "Next:" in line]
    commands = [shlex.split(line) for line in text.partition("Next:")[2].splitlines() if line.strip()]
    ours = [command[3:] for command in commands if command[:3] == ["python", "-m", "emotion_lightning"]]
    expected = [*([] if without_test else ["test"]), "predict", *([] if options else ["report"])]
    assert [command[0] for command in ours] == expected
    assert ["tensorboard", "--logdir", f"{folder}/lightning_logs"] in commands
    for command in ours:
        main([*command, *([] if command[0] in ("report", "predict") else QUIET)])
    assert (Path(folder) / RUN / "predictions.csv").is_file()


@pytest.fixture
def small_tree(faces: Path, tmp_path: Path) -> Callable[..., Path]:
    def copy(name: str, without_test: bool) -> Path:
        shutil.copytree(faces, tmp_path / name)
        if without_test:
            shutil.rmtree(tmp_path / name / "test")
        return tmp_path / name

    return copy


def test_a_report_that_cannot_be_written_ends_no_training(
    faces: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*args: object) -> None:
        raise DataError("cannot write index.html: No space left on device")

    monkeypatch.setattr("emotion_lightning.callbacks.report.write_faces", full)
    with caplog.at_level("INFO", "lightning.pytorch"):
        main(["fit", "--data.root", str(faces), *TINY, *QUIET, "--report.write", "true"])
    [said] = [str(each.message) for each in recwarn if "no report" in str(each.message)]
    assert "No space left" in said
    assert "test --ckpt_path lightning_logs/version_0/checkpoints/best.ckpt" in caplog.text
