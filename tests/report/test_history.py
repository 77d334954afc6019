from pathlib import Path

import pytest
from lightning.pytorch.loggers import TensorBoardLogger

from emotion_lightning.report.history import read_history


def log(folder: Path, epochs: range, value: float) -> None:
    """Log as Lightning does, ten steps an epoch, into an event file of its own."""
    logger = TensorBoardLogger(str(folder), name="", version="run")
    for epoch in epochs:
        logger.log_metrics({"train/loss_step": value, "epoch": epoch}, step=10 * epoch + 4)
        logger.log_metrics({"val/loss": value + epoch, "epoch": epoch}, step=10 * epoch + 9)
    logger.finalize("success")


def test_every_epoch_has_the_value_that_was_logged_for_it(tmp_path: Path) -> None:
    log(tmp_path, range(3), 1.0)
    found = read_history(tmp_path / "run")
    assert found["val/loss"] == {0: 1.0, 1: 2.0, 2: 3.0}
    assert "epoch" not in found
    (tmp_path / "empty").mkdir()
    assert read_history(tmp_path / "empty") == {}


@pytest.mark.parametrize("damage", ["flipped", "cut"])
def test_a_damaged_file_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str) -> None:
    log(tmp_path, range(3), 1.0)
    assert caplog.text == ""
    read_history(tmp_path / "run")
    assert caplog.text == ""
    [file] = (tmp_path / "run").glob("events*")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content[:-3] if damage == "cut" else content)
    assert read_history(tmp_path / "run").get("val/loss", {}).keys() < {0, 1, 2}
    assert f"{file} is damaged or cut off: charts and times lack what stood behind" in caplog.text


def test_epochs_behind_a_resume_count_as_they_were_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log(tmp_path, range(5), 1.0)
    monkeypatch.setattr("time.time", lambda: 4_000_000_000.0)  # event files are named by their second
    log(tmp_path, range(2, 4), 10.0)
    assert read_history(tmp_path / "run")["val/loss"] == {0: 1.0, 1: 2.0, 2: 12.0, 3: 13.0}
