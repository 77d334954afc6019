"""What lies between two epochs: a validation, and all else, such as checkpoints, metrics and the next batch."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.types import STEP_OUTPUT

from benchmarks.clock import now
from benchmarks.figure import Figure
from benchmarks.peers.ours import Measured, Ours, fit
from benchmarks.setting import Setting

CPU_BATCHES = 2
"""Batches of a validation on a CPU."""


class EpochEnd(Callback):
    """Times what happens from an epoch's last step to the next epoch's first batch, and of it the validation.

    Args:
        rounds: Epochs after which to leave the fit.
    """

    def __init__(self, rounds: int) -> None:
        self.rounds = rounds
        self.validations: list[float] = []
        self.others: list[float] = []
        self.images = 0
        self._step_end = self._validation_start = 0.0

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Note when an epoch has ended."""
        if self.validations:
            self.others.append(now() - self._step_end - self.validations[-1])
        if len(self.others) == self.rounds:
            raise Measured

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: STEP_OUTPUT, batch: Any, batch_idx: int
    ) -> None:
        """Note the end of a step, which is the epoch's last."""
        self._step_end = now()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the validation's clock."""
        self.images, self._validation_start = 0, now()

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: STEP_OUTPUT, batch: Any, batch_idx: int, *args: Any
    ) -> None:
        """Count images."""
        self.images += len(batch[0])

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Read the validation's clock."""
        self.validations.append(now() - self._validation_start)


def measure(setting: Setting) -> list[Figure]:
    """Run some epochs of one step with the recipe's validation, callbacks and checkpoints."""
    watch, ours = EpochEnd(setting.rounds), Ours(setting)
    fit(
        setting,
        ours.model,
        ours.data,
        "classifier",
        watch,
        limit_train_batches=1,
        limit_val_batches=1.0 if setting.on_gpu else CPU_BATCHES,
    )
    return [
        Figure("epoch_end", "validation", "ours", tuple(watch.validations), watch.images),
        Figure("epoch_end", "all else", "ours", tuple(watch.others)),
    ]
