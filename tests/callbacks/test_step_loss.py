from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger

from emotion_lightning.callbacks import ProgressBar, StepLoss, Unfreeze, step_loss
from tests.helpers import Lab


class Losses(Callback):
    """Keeps the loss of every batch, as the module returns it."""

    def __init__(self) -> None:
        self.all: list[float] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *args: Any) -> None:
        self.all.append(outputs["loss"].item() * trainer.accumulate_grad_batches)


class Bar(ProgressBar):
    """Keeps what it shows."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[Any] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        super().on_train_batch_end(trainer, pl_module, *args)
        self.shown.append(self.get_metrics(trainer, pl_module).get("train/loss_step"))


def logged(folder: Path) -> dict[int, float]:
    header, *rows = ((folder / "csv" / "metrics.csv").read_text()).splitlines()
    loss, step = (header.split(",").index(name) for name in ("train/loss_step", "step"))
    cells = (row.split(",") for row in rows)
    return {int(row[step]): float(row[loss]) for row in cells if row[loss]}


def fit(lab: Lab, folder: Path, accumulate: int = 1) -> tuple[list[float], list[Any]]:
    losses, bar, logger = Losses(), Bar(), CSVLogger(folder, name="", version="csv")
    callbacks = [Unfreeze({0: "all"}), losses, StepLoss(), bar]
    trainer = lab.trainer(
        max_epochs=2,
        callbacks=callbacks,
        logger=logger,
        log_every_n_steps=2,
        accumulate_grad_batches=accumulate,
        enable_progress_bar=True,
    )
    trainer.fit(lab.model(), lab.data())
    return losses.all, bar.shown


@pytest.mark.parametrize("accumulate", [1, 2])
def test_it_logs_and_shows_the_loss_of_every_nth_step(lab: Lab, tmp_path: Path, accumulate: int) -> None:
    losses, shown = fit(lab, tmp_path, accumulate)
    steps = len(losses) // accumulate
    expected = {step: losses[(step + 1) * accumulate - 1] for step in range(1, steps, 2)}
    assert logged(tmp_path) == pytest.approx(expected)
    assert shown[: 2 * accumulate - 1] == [None] * (2 * accumulate - 1)
    assert shown[2 * accumulate - 1] == pytest.approx(expected[1])
    assert shown[-1] == pytest.approx(list(expected.values())[-1])


def test_a_loss_that_is_still_on_its_way_is_read_later(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Arrival:
        """Is asked twice before the copy has arrived; only then the copy has its content."""

        def __init__(self, value: torch.Tensor, copy: torch.Tensor) -> None:
            self.value, self.copy, self.asked = value, copy, 0

        def query(self) -> bool:
            self.asked += 1
            return self.asked > 2 and self.synchronize()

        def synchronize(self) -> bool:
            self.copy.copy_(self.value)
            return True

    def to_host(value: torch.Tensor) -> tuple[torch.Tensor, Arrival]:
        copy = torch.full_like(value, torch.nan)
        return copy, Arrival(value, copy)

    monkeypatch.setattr(step_loss, "_to_host", to_host)
    losses, shown = fit(lab, tmp_path)
    assert logged(tmp_path) == pytest.approx({step: losses[step] for step in range(1, 12, 2)})
    assert shown[1:3] == [None, None]
    assert shown[3] == pytest.approx(losses[1])
