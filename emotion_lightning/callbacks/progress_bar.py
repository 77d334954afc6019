"""A progress bar that waits for nothing."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar

from emotion_lightning.callbacks.step_loss import StepLoss


class ProgressBar(TQDMProgressBar):
    """Lightning's progress bar with the loss that ``StepLoss`` read last.

    What a module itself logs for the progress bar in a step is read from the device in every step.
    """

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """Name what stands behind the bar."""
        shown = super().get_metrics(trainer, pl_module)
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
        losses = (callback.latest for callback in callbacks if isinstance(callback, StepLoss))
        loss = next(losses, None)
        return {**shown, "train/loss_step": loss} if loss is not None else shown
