"""One thin bar for what runs, with the time that is left of it and of the whole run."""

import sys
import time
from math import ceil, isfinite
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm
from lightning.pytorch.utilities.types import STEP_OUTPUT

from emotion_lightning.callbacks.data import validated_in_fit
from emotion_lightning.runtime.plain import is_plain

THIN = "─╾━"
"""What is to come, the cell between, and what is done."""


class ProgressBar(TQDMProgressBar):
    """Lightning's bar as one line on standard error, which goes when it is done; figures stay in the rows of epochs.

    The loss of a step is read each time the bar is drawn, not in each step as for ``self.log(..., prog_bar=True)``.
    Nothing is drawn where there is no terminal, or NO_COLOR or TERM=dumb is set.

    Args:
        refresh_rate: Draw the bar every so many steps.
    """

    def __init__(self, refresh_rate: int = 10):
        super().__init__(refresh_rate=refresh_rate)
        self._loss = ""  # the last one, as Lightning forgets it when it validates
        self._trained_until = self._between_epochs = 0.0

    def init_sanity_tqdm(self) -> Tqdm:
        """Make the bar of the trial before training."""
        return self._bar("Trying the validation")

    def init_train_tqdm(self) -> Tqdm:
        """Make the bar of an epoch's training."""
        return self._bar("{desc}")

    def init_validation_tqdm(self) -> Tqdm:
        """Make the bar of a validation, which takes the place of training's for its time."""
        in_fit = f"{self._epoch(self.trainer)}, validation"
        return self._bar(in_fit if validated_in_fit(self.trainer) else "Validation")

    def init_test_tqdm(self) -> Tqdm:
        """Make the bar of a test."""
        return self._bar("Test")

    def init_predict_tqdm(self) -> Tqdm:
        """Make the bar of a prediction."""
        return self._bar("Prediction")

    def _bar(self, title: str) -> Tqdm:
        unicode = "utf" in str(getattr(sys.stderr, "encoding", "")).lower()
        return Tqdm(
            bar_format=f"{title} {{bar}} {{n_fmt}}/{{total_fmt}}, {{remaining}} left{{postfix}}",
            ascii=THIN if unicode else True,
            file=sys.stderr,
            disable=True if self.is_disabled or is_plain() else None,  # None: unless it is a terminal
            leave=False,
            dynamic_ncols=True,
            smoothing=0,
            delay=1e-9,  # not before its total is known
            position=2 * self.process_position,
        )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin within the epoch that a resume goes on with, whose start is not seen."""
        super().on_train_start(trainer, pl_module)
        self._loss, self._trained_until, self._between_epochs = "", 0.0, 0.0
        self._begin(trainer, trainer.fit_loop.batch_idx + 1)

    def on_train_epoch_start(self, trainer: Trainer, *_: Any) -> None:
        """Begin anew, and note how long the epoch before has taken after its last step."""
        if self._trained_until:
            self._between_epochs = time.monotonic() - self._trained_until
        self._begin(trainer, 0)

    def _begin(self, trainer: Trainer, done: int) -> None:
        bar = self.train_progress_bar
        bar.set_description_str(self._epoch(trainer), refresh=False)
        bar.set_postfix_str("", refresh=False)
        bar.initial = 0
        bar.reset(self.total_train_batches if isfinite(self.total_train_batches) else None)
        if done:
            bar.n = bar.initial = done
            bar.refresh()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: STEP_OUTPUT, batch: Any, batch_idx: int
    ) -> None:
        """Draw the bar if it is time to."""
        if trainer.is_last_batch:
            self._trained_until = time.monotonic()
        bar, done = self.train_progress_bar, batch_idx + 1
        if bar.disable or not (done % self.refresh_rate == 0 or done == bar.total):
            return
        if (loss := trainer.callback_metrics.get("train/loss_step")) is not None:
            self._loss = f", loss {loss.item():.4f}"
        bar.n = done
        bar.set_postfix_str(f"{self._run_left(trainer)}{self._loss}".removeprefix(", "))

    def on_train_epoch_end(self, *_: Any) -> None:
        """Leave the bar as it is."""

    def on_validation_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        """Take the bar away after the last batch: what others do at the end is no part of it."""
        super().on_validation_batch_end(trainer, pl_module, *args)
        if self.val_progress_bar.n == self.val_progress_bar.total:
            self.val_progress_bar.close()

    def on_validation_end(self, *_: Any) -> None:
        """Take the bar away."""
        self.val_progress_bar.close()
        self.reset_dataloader_idx_tracker()

    def on_test_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        """Take the bar away after the last batch."""
        super().on_test_batch_end(trainer, pl_module, *args)
        if self.test_progress_bar.n == self.test_progress_bar.total:
            self.test_progress_bar.close()

    def on_exception(self, *_: Any) -> None:
        """Take the bars away, before it is said what has happened."""
        for bar in (self._train_progress_bar, self._val_progress_bar, self._test_progress_bar):
            if bar is not None:
                bar.close()

    def _epoch(self, trainer: Trainer) -> str:
        of = f"/{trainer.max_epochs}" if (trainer.max_epochs or -1) > 0 else ""
        return f"Epoch {trainer.current_epoch + 1}{of}"

    def _run_left(self, trainer: Trainer) -> str:
        """The time of the steps that are left, if they go as this epoch's, and of what lies between epochs."""
        bar, steps = self.train_progress_bar, trainer.estimated_stepping_batches
        trained = bar.n - bar.initial
        if not (trained and bar.total and isfinite(steps)):
            return ""
        epochs = (steps - trainer.global_step) / ceil(bar.total / trainer.accumulate_grad_batches)
        seconds = bar.format_dict["elapsed"] / trained * bar.total + self._between_epochs
        return f", run {bar.format_interval(epochs * seconds)} left"
