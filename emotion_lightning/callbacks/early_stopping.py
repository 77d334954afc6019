"""Early stopping that leaves the unfreezing schedule its time, and ends with the best weights."""

import lightning.pytorch.callbacks as lightning_callbacks
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info

from emotion_lightning.callbacks.checkpoint import RunCheckpoint
from emotion_lightning.callbacks.unfreeze import Unfreeze
from emotion_lightning.errors import UsageError
from emotion_lightning.evaluation.metrics import MONITOR
from emotion_lightning.runs.loading import load_safely
from emotion_lightning.schedule import last_unfreezing


class EarlyStopping(lightning_callbacks.EarlyStopping):
    """Stops when validation macro F1 no longer improves, and puts the best weights into the model when training ends.

    Each unfreezing restarts the patience, and none of it runs out while the schedule has stages left to unfreeze: the
    next unfreezing is what ends such a plateau. Stopping early cuts OneCycle's annealing short.

    Args:
        patience: Epochs without improvement after which training stops, at least 1.
        min_delta: Least gain in macro F1 that counts as an improvement.

    Raises:
        UsageError: The patience is below 1.
    """

    def __init__(self, patience: int = 15, min_delta: float = 0.001):
        if patience < 1:
            raise UsageError(f"`patience` {patience} is below 1")
        # after validation, never at the end of an epoch that was not validated
        super().__init__(
            monitor=MONITOR, mode="max", patience=patience, min_delta=min_delta, check_on_train_epoch_end=False
        )

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compare the epoch's score with the best, and stop when the patience is over."""
        if not trainer.is_last_batch:
            return  # a validation within the epoch, which no checkpoint holds
        stopping = trainer.should_stop
        super().on_validation_end(trainer, pl_module)
        if self._unfreezing_is_pending(trainer):
            self.wait_count, self.stopped_epoch = 0, 0
            trainer.should_stop = stopping
        elif trainer.should_stop and not stopping:
            rank_zero_info(f"Early stopping: no gain in {MONITOR} for {self.patience} epochs")

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the weights of the best checkpoint into the model."""
        checkpoint = trainer.checkpoint_callback
        if not isinstance(checkpoint, RunCheckpoint) or not checkpoint.best_model_path:
            return
        best = load_safely(checkpoint.best_model_path, "checkpoint", mmap=True)  # the optimizer's state stays on disk
        pl_module.load_state_dict(best["state_dict"])
        pl_module.on_load_checkpoint(best)  # the temperature
        rank_zero_info(f"Restored the best weights, of epoch {checkpoint.best_epoch}")

    def _unfreezing_is_pending(self, trainer: Trainer) -> bool:
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
        schedules = (callback.schedule for callback in callbacks if isinstance(callback, Unfreeze))
        return any(trainer.current_epoch < last_unfreezing(schedule) for schedule in schedules)
