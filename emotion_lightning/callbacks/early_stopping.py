"""Early stopping that leaves the unfreezing schedule its time, and ends with the best weights."""

from typing import Any

import lightning.pytorch.callbacks as lightning_callbacks
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from emotion_lightning.callbacks.checkpoint import run_checkpoint
from emotion_lightning.callbacks.data import validated_in_fit
from emotion_lightning.callbacks.rivals import refuse_rivals
from emotion_lightning.errors import DataError, UsageError
from emotion_lightning.evaluation.metrics import MONITOR
from emotion_lightning.runs.config import MODEL
from emotion_lightning.runs.loading import load_safely
from emotion_lightning.schedule import RECIPE_SCHEDULE, last_unfreezing


class EarlyStopping(lightning_callbacks.EarlyStopping):
    """Stops when validation macro F1 no longer improves, and puts the best weights into the model when training ends.

    The patience begins when all stages are unfrozen: before, the next unfreezing is what ends a plateau. Stopping early
    cuts OneCycle's annealing short.

    Args:
        patience: Epochs without improvement after which training stops, at least 1. An epoch that is not validated does
            not count, and one that is validated several times counts by its last validation.
        min_delta: Least gain in macro F1 that counts as an improvement.
        start_epoch: Epoch (from 0) before which patience does not count: that of the last unfreezing, which the command
            line takes from the schedule; 40 in the recipe.

    Raises:
        UsageError: The patience is below 1.
    """

    def __init__(
        self, patience: int = 15, min_delta: float = 0.001, start_epoch: int = last_unfreezing(RECIPE_SCHEDULE)
    ):
        if patience < 1:
            raise UsageError(f"`patience` {patience} is below 1")
        super().__init__(
            monitor=MONITOR, mode="max", patience=patience, min_delta=min_delta, check_on_train_epoch_end=True
        )
        self.start_epoch = start_epoch
        self._validated = False
        self._score: float | None = None  # of the epoch's last validation

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Forget an earlier fit."""
        super().setup(trainer, pl_module, stage)
        if stage == "fit":
            self.check_fit(trainer, pl_module)
            self.wait_count, self.stopped_epoch, self._validated, self._score = 0, 0, False, None
            self.best_score = torch.tensor(float("-inf"))

    def check_fit(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse another early stopping.

        Raises:
            UsageError: There is one.
        """
        refuse_rivals(self, trainer, lightning_callbacks.EarlyStopping, "`early_stopping.patience`")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Train nothing if the run that is resumed was stopped early."""
        if self.wait_count >= self.patience:
            trainer.should_stop = True

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the epoch's score; without one, the trainer still shows that of an earlier epoch."""
        self._validated = validated_in_fit(trainer)
        found = trainer.callback_metrics.get(MONITOR)
        self._score = float(found) if self._validated and found is not None else None

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compare the epoch's score with the best, and stop when the patience is over."""
        if not self._validated:
            return
        if self._score is not None:  # the trainer forgets it in a resume
            trainer.callback_metrics.setdefault(MONITOR, torch.tensor(self._score))
        self._validated, self._score, stopping = False, None, trainer.should_stop
        super().on_train_epoch_end(trainer, pl_module)
        if trainer.current_epoch < self.start_epoch:
            self.wait_count, self.stopped_epoch = 0, 0
            trainer.should_stop = stopping

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say so where it has stopped, below the row of the last epoch."""
        if self.stopped_epoch and trainer.should_stop:
            rank_zero_info(f"Early stopping: no gain in {MONITOR} for {self.patience} epochs")

    def state_dict(self) -> dict[str, Any]:
        """Save the patience, and the score of an epoch that is not over."""
        return {**super().state_dict(), "validated": self._validated, "score": self._score}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with both."""
        super().load_state_dict(state_dict)
        self._validated, self._score = state_dict.get("validated", False), state_dict.get("score")

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the weights of the best checkpoint into the model."""
        checkpoint = run_checkpoint(trainer)
        if checkpoint is None or not checkpoint.best_model_path:
            return
        try:
            best = load_safely(checkpoint.best_model_path, "checkpoint", MODEL)
        except DataError as error:  # no reason to lose the weights that there are
            rank_zero_warn(f"{error}: the best weights are lost, and those of the last epoch stay in the model")
            checkpoint.best_model_path = ""
            return
        pl_module.load_state_dict(best["state_dict"])
        pl_module.on_load_checkpoint(best)  # the temperature and the threshold
        rank_zero_info(f"Restored the best weights, of epoch {checkpoint.best_epoch + 1}")
