from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger

from emotion_lightning.callbacks import ProgressBar, Unfreeze
from tests.helpers import Lab


class Bar(ProgressBar):
    """Keeps the losses that it shows."""

    def __init__(self) -> None:
        super().__init__(refresh_rate=4)
        self.shown: list[Any] = []

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        metrics = super().get_metrics(trainer, pl_module)
        self.shown.append(metrics.get("train/loss_step"))
        return metrics


class Losses(Callback):
    """Keeps the loss of every batch; Lightning has divided it by the batches of a step."""

    def __init__(self) -> None:
        self.all: list[float] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *args: Any) -> None:
        self.all.append(outputs["loss"].item() * trainer.accumulate_grad_batches)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_loss_of_some_steps_is_logged_and_shown(lab: Lab, tmp_path: Path, accumulate: int) -> None:
    losses, bar, logger = Losses(), Bar(), CSVLogger(tmp_path, name="", version="csv")
    options = {"log_every_n_steps": 2, "accumulate_grad_batches": accumulate, "enable_progress_bar": True}
    callbacks = [Unfreeze({0: "all"}), losses, bar]
    lab.trainer(max_epochs=1, callbacks=callbacks, logger=logger, **options).fit(lab.model(), lab.data())
    header, *rows = [row.split(",") for row in (tmp_path / "csv/metrics.csv").read_text().splitlines()]
    loss, step = header.index("train/loss_step"), header.index("step")
    logged = {int(row[step]): float(row[loss]) for row in rows if row[loss]}
    steps = range(1, 6 // accumulate, 2)
    assert logged == pytest.approx({step: losses.all[(step + 1) * accumulate - 1] for step in steps})
    shown = [loss for loss in bar.shown if loss is not None]
    assert shown[:2] == pytest.approx([losses.all[3], losses.all[5]])  # after four batches, and after the last
