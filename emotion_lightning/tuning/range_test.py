"""One sweep of a learning-rate range test, as a callback that drives the optimizer's groups."""

from collections.abc import Sequence
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.types import STEP_OUTPUT
from torch import Tensor

from emotion_lightning.tuning.lr_curve import has_diverged


class RangeTest(Callback):
    """Lets the learning rate of some stages rise from step to step and notes the loss; stops when it diverges.

    All other stages have their configured peak. OneCycle goes on in vain: rates and momentum are set before each step.

    Args:
        stages: Stages whose learning rate rises.
        rates: Learning rate of each optimizer step.
    """

    def __init__(self, stages: Sequence[str], rates: Sequence[float]):
        self.stages, self.rates = stages, rates
        self.losses: list[float] = []
        self._loss: Tensor | float = 0.0

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Set the rates of the step that this batch belongs to."""
        optimizer = trainer.optimizers[0]
        for group in optimizer.param_groups:
            rises = group["name"] in self.stages
            group["lr"] = self.rates[len(self.losses)] if rises else group["max_lr"]
            group["betas"] = optimizer.defaults["betas"]

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: STEP_OUTPUT, batch: Any, batch_idx: int
    ) -> None:
        """Note the loss of each optimizer step; with accumulation, it is the mean of its batches."""
        assert isinstance(outputs, dict)
        self._loss = self._loss + outputs["loss"]  # already divided by the number of accumulated batches
        if trainer.global_step == len(self.losses):
            return
        self.losses.append(float(trainer.strategy.reduce(self._loss, reduce_op="mean")))
        self._loss = 0.0
        trainer.should_stop = has_diverged(self.losses)
