"""Lightning's progress bar, with the loss of a step."""

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar

from emotion_lightning.callbacks.data import measured_part


class ProgressBar(TQDMProgressBar):
    """Reads and shows the loss each time the bar is drawn, not in each step as for ``self.log(..., prog_bar=True)``.

    Args:
        refresh_rate: Draw the bar every so many steps.
    """

    def __init__(self, refresh_rate: int = 10):
        super().__init__(refresh_rate=refresh_rate)
        self._loss: dict[str, float] = {}  # the last one, as Lightning forgets it when it validates
        self._part = ""

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note how much was measured."""
        self._part = measured_part(trainer)
        super().on_validation_end(trainer, pl_module)

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """Return what is written beside the bar."""
        if (loss := trainer.callback_metrics.get("train/loss_step")) is not None:
            self._loss = {"train/loss_step": loss.item()}
        items = super().get_metrics(trainer, pl_module) | self._loss
        if self._part and any(name.startswith("val/") for name in items):
            items["val"] = self._part.strip(" ()")  # or a metric of a part would look like one of all
        return items
