"""The history of a run: every figure that is logged, a row an epoch, whatever the logger is."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch import Tensor

from emotion_lightning.callbacks.data import validated_in_fit
from emotion_lightning.errors import DataError
from emotion_lightning.evaluation.metrics import MONITOR
from emotion_lightning.runs.folder import log_dir
from emotion_lightning.runs.history import HISTORY, STEP, Rows, write_history
from emotion_lightning.runtime.position import ends_epoch

KEY = "history"
"""Entry of a checkpoint with the rows up to it."""


class History(Callback):
    """Writes ``history.csv`` into the run's folder after each validation and each epoch.

    An epoch that is validated several times has its last figures, but the macro F1 of its best weights, which may be
    those kept. Each checkpoint holds the rows up to it, and a resume goes on with these: it cuts what came after the
    checkpoint, and a kill loses nothing of what came before. Losses of single steps are left to the logger.
    """

    def __init__(self) -> None:
        self.rows: Rows = {}
        self._before: dict[str, Tensor] = {}  # what the trainer still shows of earlier epochs

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Forget an earlier fit."""
        if stage == "fit":
            self.rows, self._before = {}, {}

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Take up the rows of a checkpoint that a run goes on from."""
        if trainer.state.fn != "fit":
            return
        self.rows = {epoch: dict(row) for epoch, row in checkpoint.get(KEY, {}).items()}
        if KEY not in checkpoint:
            rank_zero_info(
                f"The checkpoint has no history: {HISTORY} begins here, and earlier curves stay in TensorBoard"
            )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Cut what an interrupted run has written after its checkpoint."""
        self._folder = log_dir(trainer)  # asks all ranks
        if self.rows:
            self._write(trainer)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add what was logged at the end of the last epoch, if no checkpoint was saved there."""
        self._add(trainer, trainer.current_epoch - 1)
        self._before = dict(trainer.callback_metrics)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add the figures of a validation."""
        if validated_in_fit(trainer):
            self._add(trainer, trainer.current_epoch)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Save the rows; at an epoch's end with the figures that Lightning hands to loggers only after it has saved."""
        if ends_epoch(trainer):
            self._add(trainer, trainer.current_epoch)
        checkpoint[KEY] = {epoch: dict(row) for epoch, row in self.rows.items()}

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add what was logged at the end of the last epoch."""
        self._add(trainer, trainer.current_epoch - 1)

    def _add(self, trainer: Trainer, epoch: int) -> None:
        found = trainer.callback_metrics  # may ask all ranks
        logged = {name: float(value) for name, value in found.items() if self._before.get(name) is not value}
        logged = {name: value for name, value in logged.items() if not name.endswith("_step")}
        if not logged or epoch < 0:
            return
        row = self.rows.setdefault(epoch, {})
        before = dict(row)
        if MONITOR in logged:
            logged[MONITOR] = max(logged[MONITOR], row.get(MONITOR, 0.0))
        row.update(logged | {STEP: trainer.global_step})
        if row != before:
            self._write(trainer)

    def _write(self, trainer: Trainer) -> None:
        if not trainer.is_global_zero or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        try:
            write_history(self._folder, self.rows)
        except DataError as error:  # the next epoch writes all rows, and checkpoints have them too
            rank_zero_warn(f"{error}; training goes on")
