from pathlib import Path

import pytest

from emotion_lightning.errors import DataError
from emotion_lightning.runs.history import read_history, write_history


def test_what_is_written_is_read_to_the_last_digit(tmp_path: Path) -> None:
    third = 1 / 3
    write_history(tmp_path, {0: {"val/loss": third, "step": 6}, 1: {"val/loss": 1e-300, "train/loss": 2.0, "step": 12}})
    assert (tmp_path / "history.csv").read_text().splitlines()[0] == "epoch,step,train/loss,val/loss"
    assert read_history(tmp_path) == {"train/loss": {1: 2.0}, "val/loss": {0: third, 1: 1e-300}}


def test_a_run_without_a_history_is_told_where_its_curves_are(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert read_history(tmp_path) == {}
    assert caplog.text == ""
    (tmp_path / "events.out.tfevents.1.host").touch()
    assert read_history(tmp_path) == {}
    assert "has no history.csv, as runs of 0.1: its curves are in TensorBoard alone" in caplog.text


@pytest.mark.parametrize("content", [b"epoch,step,val/loss\n0,6,low\n", b"step,val/loss\n6,1.0\n", b"epoch\n\xff\n"])
def test_a_damaged_history_is_said(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "history.csv").write_bytes(content)
    with pytest.raises(DataError, match=r"history\.csv is damaged"):
        read_history(tmp_path)
