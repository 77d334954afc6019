import io
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger

from emotion_lightning.callbacks import EpochRows, ProgressBar, Unfreeze
from tests.helpers import Lab, on_a_terminal, screen


class Losses(Callback):
    """Keeps the loss of every batch; Lightning has divided it by the batches of a step."""

    def __init__(self) -> None:
        self.all: list[float] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *args: Any) -> None:
        self.all.append(outputs["loss"].item() * trainer.accumulate_grad_batches)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_loss_of_some_steps_is_logged_and_shown(
    lab: Lab, tmp_path: Path, accumulate: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = on_a_terminal(monkeypatch)
    losses, bar, logger = Losses(), ProgressBar(refresh_rate=4), CSVLogger(tmp_path, name="", version="csv")
    options = {"log_every_n_steps": 2, "accumulate_grad_batches": accumulate, "enable_progress_bar": True}
    callbacks = [Unfreeze({0: "all"}), losses, bar]
    lab.trainer(max_epochs=1, callbacks=callbacks, logger=logger, **options).fit(lab.model(), lab.data())
    header, *rows = [row.split(",") for row in (tmp_path / "csv/metrics.csv").read_text().splitlines()]
    loss, step = header.index("train/loss_step"), header.index("step")
    logged = {int(row[step]): float(row[loss]) for row in rows if row[loss]}
    steps = range(1, 6 // accumulate, 2)
    assert logged == pytest.approx({step: losses.all[(step + 1) * accumulate - 1] for step in steps})
    shown = re.findall(r"(\d/6), 00:00 left, run 00:00 left, loss (\d\.\d{4})", terminal.getvalue())
    wanted = [("4/6", f"{losses.all[3]:.4f}"), ("6/6", f"{losses.all[5]:.4f}")]
    assert list(dict.fromkeys(shown)) == wanted  # after four batches, and after the last


def test_one_line_is_drawn_on_standard_error_and_goes_at_the_end(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal = on_a_terminal(monkeypatch)
    trainer = lab.trainer(callbacks=[EpochRows(), Unfreeze({0: "all"}), ProgressBar(2)], enable_progress_bar=True)
    trainer.fit(lab.model(), lab.data())
    trainer.test(lab.model(), lab.data(), verbose=False)
    drawn = terminal.getvalue()
    assert "\n" not in drawn
    assert "v_num" not in drawn
    for title in ("Trying the validation", "Epoch 1/3", "Epoch 3/3", "Epoch 3/3, validation", "Test"):
        assert re.search(rf"\r{title} ━*╾?─* ?\d/\d, ", drawn)
    assert screen(drawn) == [""]
    assert "\r" not in capsys.readouterr().out


@pytest.mark.parametrize(("name", "value"), [("TERM", "dumb"), ("NO_COLOR", "1"), (None, "")])
def test_nothing_is_drawn_where_it_is_not_wanted(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, name: str | None, value: str
) -> None:
    terminal: io.StringIO = on_a_terminal(monkeypatch)
    if name is None:
        monkeypatch.setattr(sys, "stderr", terminal := io.StringIO())  # a file
    else:
        monkeypatch.setenv(name, value)
    lab.trainer(max_epochs=1, callbacks=[Unfreeze({0: "all"}), ProgressBar()], enable_progress_bar=True).fit(
        lab.model(), lab.data()
    )
    assert "\r" not in terminal.getvalue()
