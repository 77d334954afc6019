"""Lightning's progress bar, with the loss of a step."""

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar


class ProgressBar(TQDMProgressBar):
    """Reads and shows the loss each time the bar is drawn, not in each step as for ``self.log(..., prog_bar=True)``.

    Args:
        refresh_rate: Draw the bar every so many steps.
    """

    def __init__(self, refresh_rate: int = 10):
        super().__init__(refresh_rate=refresh_rate)
        self._loss: dict[str, float] = {}  # the last one, as Lightning forgets it when it validates

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """Return what is written beside the bar."""
        if (loss := trainer.callback_metrics.get("train/loss_step")) is not None:
            self._loss = {"train/loss_step": loss.item()}
        return super().get_metrics(trainer, pl_module) | self._loss
