"""Checkpoints: the best, the last and one every few epochs, each written whole or not at all."""

import shutil
from pathlib import Path
from typing import Any

import lightning.pytorch.callbacks as callbacks
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from lightning.pytorch.utilities.exceptions import SIGTERMException

from emotion_lightning.callbacks.data import data_of, validated_in_fit
from emotion_lightning.callbacks.occasion import Occasion
from emotion_lightning.errors import DataError, UsageError
from emotion_lightning.evaluation.metrics import MONITOR
from emotion_lightning.options import PROGRAM
from emotion_lightning.runs.checkpoint_io import install
from emotion_lightning.runs.config import of_checkpoint
from emotion_lightning.runs.files import atomic_write, ensure_writable
from emotion_lightning.runs.folder import CHECKPOINTS, from_here, log_dir, pasted
from emotion_lightning.runs.loading import checked_file, load_safely
from emotion_lightning.runs.schema import check_loops
from emotion_lightning.runs.temporary import sweep_below
from emotion_lightning.runtime.position import between_steps, end_saved_epoch, resume_at_validation, validates_next
from emotion_lightning.runtime.signals import Interrupted

BEST, LAST = "best.ckpt", "last.ckpt"
"""Names of the checkpoint with the best score, and of that from which a run goes on."""

SCORES = ("val/accuracy", MONITOR, "val/loss")
"""Metrics of the best epoch that are kept with it."""


class RunCheckpoint(callbacks.Checkpoint):
    """Writes ``best.ckpt`` by validation macro F1, ``last.ckpt`` after every epoch, and ``epoch_004.ckpt`` and so on.

    Within an epoch it writes ``last.ckpt`` every few minutes and when a signal ends the run: SIGTERM, SIGINT (Ctrl-C),
    SIGHUP, and SIGUSR1, after which SLURM queues the job again. It does so at the end of a step or of a batch of
    validation, and the process ends with 128 and the signal's number; a second signal ends it at once. A resume from
    any of these files is exact where the data can begin within an epoch: an ``EmotionDataModule``, or a loader with a
    state. Other data gets ``last.ckpt`` at the ends of epochs alone.

    The best holds the weights that were validated, wherever in an epoch that was.

    Args:
        every_n_epochs: Keep a checkpoint every so many epochs; 0 keeps only the best and the last.
        every_n_minutes: Write the last within an epoch when the one before is so many minutes old; 0 writes it at the
            ends of epochs alone.

    Raises:
        UsageError: A number is negative.
        DataError: The folder cannot be written; said before training begins.
    """

    def __init__(self, every_n_epochs: int = 5, every_n_minutes: float = 15.0):
        for name, value in (("every_n_epochs", every_n_epochs), ("every_n_minutes", every_n_minutes)):
            if value < 0:
                raise UsageError(f"`checkpoint.{name}` {value} is negative")
        self.every_n_epochs, self.folder = every_n_epochs, Path()
        self._occasion = Occasion(every_n_minutes)
        self._fitting = False
        self._forget()

    def _forget(self) -> None:
        self.best_model_path = ""
        self.best_score = float("-inf")
        self.best_epoch = self._best_step = -1
        self.best_metrics: dict[str, float] = {}
        self._measured: dict[str, float] = {}  # of the weights that the model has now
        self._resumed_step, self._at_start_of_epoch = -1, False
        self._inexact = self._in_validation = False

    @property
    def state_key(self) -> str:
        """Name of the state in a checkpoint, as version 0.1 wrote it."""
        return "Checkpoint"

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Forget an earlier run, and take up the folder of this one."""
        install(trainer)
        self._occasion.prepare(trainer)
        self._fitting = stage == "fit"
        if not self._fitting or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        self._forget()
        self.folder = log_dir(trainer).resolve() / CHECKPOINTS
        if trainer.is_global_zero:
            sweep_below(self.folder.parent)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Leave the signals to others."""
        self._occasion.signals.give_back()

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check the folder, before an hour of training is lost for it, and once it is known whether a run goes on."""
        if not trainer.fast_dev_run:  # type: ignore[attr-defined]
            self.check_fit(trainer, pl_module)

    def check_fit(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse a folder that cannot be written, or that holds what a new run would replace.

        Raises:
            DataError: It is one.
        """
        self.folder = log_dir(trainer).resolve() / CHECKPOINTS  # asks all ranks
        found = sorted(self.folder.glob("*.ckpt"), key=lambda path: (path.name == LAST, path.stat().st_mtime))
        if trainer.ckpt_path is None and (last := trainer.strategy.broadcast(found[-1:])):
            raise DataError(
                f"{self.folder} holds the checkpoints of another run: resume it by `ckpt_path={from_here(last[0])}`, "
                "or choose another folder by `default_root_dir`"
            )
        if trainer.is_global_zero:
            ensure_writable(self.folder)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the best in order that a resumed run finds, and wait for signals from now on."""
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        if self._at_start_of_epoch:
            trainer.fit_loop.epoch_loop.restarting = False
        if self._resumed_step >= 0:
            self._find_best(trainer)
        self._occasion.begin()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """End the run after a signal; here, as the last step has been logged by now."""
        self._occasion.end_run()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        """Save the last checkpoint if it is time; what follows a validation or the epoch's end is saved there."""
        if trainer.fast_dev_run or trainer.is_last_batch or validates_next(trainer) or not between_steps(trainer):  # type: ignore[attr-defined]
            return
        if self._occasion.has_come() and _can_begin_within(trainer):
            self._save(trainer, LAST)

    def on_validation_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        """Save and end after a signal; a resume begins with this validation."""
        if not validated_in_fit(trainer) or trainer.fast_dev_run or not between_steps(trainer):  # type: ignore[attr-defined]
            return
        self._occasion.has_come()
        if self._occasion.signal and _can_begin_within(trainer):
            self._in_validation = True
            self._save(trainer, LAST)
            self._in_validation = False
        self._occasion.end_run()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the score; within an epoch, keep the weights now if they are the best, as training changes them next."""
        if not validated_in_fit(trainer) or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        found = trainer.callback_metrics
        self._measured = {name: float(found[name]) for name in SCORES if name in found}
        if trainer.is_last_batch:
            return
        best = [BEST] * self._is_best(trainer)
        if not between_steps(trainer) or not _can_begin_within(trainer):
            self._inexact = True
            self._save(trainer, *best)
            self._inexact = False
        elif self._occasion.has_come() or best:
            self._save(trainer, LAST, *best)
        self._occasion.end_run()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write what this epoch calls for."""
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        kept = self.every_n_epochs and (trainer.current_epoch + 1) % self.every_n_epochs == 0
        best = [BEST] * self._is_best(trainer)
        self._save(trainer, *([f"epoch_{trainer.current_epoch:03d}.ckpt"] if kept else []), LAST, *best)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End the run after a signal within the last epoch, which has been logged by now."""
        if not trainer.fast_dev_run:  # type: ignore[attr-defined]
            self._occasion.has_come(at_once=True)
            self._occasion.end_run()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End the run after a signal within its last epoch; from now on there is nothing to save."""
        if not trainer.fast_dev_run:  # type: ignore[attr-defined]
            self._occasion.signals.waiting = False
            self._occasion.has_come(at_once=True)
            self._occasion.end_run()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Say how to go on after an interruption."""
        self._occasion.signals.give_back()
        last = self.folder / LAST
        interrupted = isinstance(exception, Interrupted | KeyboardInterrupt | SIGTERMException)
        if interrupted and trainer.is_global_zero and last.is_file():
            by_command = any(isinstance(callback, SaveConfigCallback) for callback in trainer.callbacks)  # type: ignore[attr-defined]
            advice = f"{PROGRAM} fit --ckpt_path {pasted(last)}" if by_command else f"fit with ckpt_path={str(last)!r}"
            rank_zero_info(f"Interrupted in epoch {trainer.current_epoch + 1}; to go on: {advice}")

    def _is_best(self, trainer: Trainer) -> bool:
        """Whether the last validation was of the model's weights and none was better; then it is the best."""
        if trainer.strategy.broadcast(bool(self.best_model_path) and not Path(self.best_model_path).is_file()):
            self._lose_best(Path(self.best_model_path))
        measured, self._measured = self._measured, {}
        if not measured.get(MONITOR, float("-inf")) > self.best_score:
            return False
        self.best_score, self.best_epoch, self.best_metrics = measured[MONITOR], trainer.current_epoch, measured
        self._best_step, self.best_model_path = trainer.global_step, str(self.folder / BEST)
        return True

    def _lose_best(self, path: Path) -> None:
        how = "damaged" if path.is_file() else "gone"
        rank_zero_warn(
            f"{from_here(path)}, of epoch {self.best_epoch + 1}, is {how}: the best epoch from here on "
            "is put in its place"
        )
        self.best_model_path, self.best_score = "", float("-inf")

    def _save(self, trainer: Trainer, *names: str) -> None:
        """Write the state under each of ``names``, the best after the last: a kill leaves no best without a last."""
        for name in names:
            self._save_as(trainer, name)
        if LAST in names:
            self._occasion.saved()

    def _save_as(self, trainer: Trainer, name: str) -> None:
        """Save all that a resume needs; where the first rank cannot write it, all ranks end alike."""
        failed: DataError | None = None
        try:
            trainer.save_checkpoint(self.folder / name, weights_only=False)
        except DataError as error:
            last = self.folder / LAST
            kept = f"; {from_here(last)} is whole, and the run can go on from it" if last.is_file() else ""
            failed = DataError(f"{error}{kept}")
            trainer.strategy.barrier()  # at which the others wait, as it comes after writing
        if failed := trainer.strategy.broadcast(failed):
            failed.of_all_ranks = True
            raise failed

    def _find_best(self, trainer: Trainer) -> None:
        """Keep the best of a later epoch than that from which a run is resumed; make one that a kill has left out."""
        best, path = self.folder / BEST, Path(self.best_model_path or self.folder / BEST)
        known = (self.best_epoch, self._best_step)
        found = trainer.strategy.broadcast(_epoch_and_step(path) if trainer.is_global_zero else None)
        if found == known or (self._best_step < 0 and found and found[0] == self.best_epoch):  # 0.1 kept no step
            return
        own = self._best_step == self._resumed_step  # what is resumed is the best as well
        if found and not (own and found[1] < self._best_step):  # else it was killed between the last and the best
            kept = self.folder / f"best_epoch_{found[0]:03d}.ckpt"  # better than what is resumed, but not of its past
            if trainer.is_global_zero and best.is_file():
                best.replace(kept)
            later = f"best.ckpt is of epoch {found[0] + 1}, later than the checkpoint resumed"
            rank_zero_info(f"{later}; kept as {kept.name}")
        if not own:  # a best that is gone must not hinder the next one
            if not found and self.best_epoch >= 0:
                self._lose_best(path)
            self.best_model_path, self.best_score = "", float("-inf")
            return
        if trainer.is_global_zero:
            with atomic_write(best) as temporary:
                shutil.copyfile(str(trainer.ckpt_path), temporary)
        self.best_model_path = str(best)

    def state_dict(self) -> dict[str, Any]:
        """Save which checkpoint is the best, so that a resumed run does not replace it by a worse one."""
        return {
            "best_model_path": self.best_model_path,
            "best_score": self.best_score,
            "best_epoch": self.best_epoch,
            "best_step": self._best_step,
            "best_metrics": self.best_metrics,
            "within_epoch": self._inexact,
        }

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Say whether a resume begins with a validation."""
        resume_at_validation(checkpoint, pending=self._in_validation)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Refuse to resume from where it would not be exact.

        Raises:
            UsageError: The checkpoint was saved there.
            DataError: It is damaged.
        """
        if trainer.state.fn != "fit":
            return
        path = Path(str(trainer.ckpt_path))
        with of_checkpoint(path):
            check_loops(checkpoint, trainer)
        self._resumed_step, self._at_start_of_epoch = checkpoint["global_step"], end_saved_epoch(checkpoint)
        if path.name.startswith("hpc_ckpt_"):
            raise UsageError(
                f"{path} is what Lightning saves under SLURM, at any point of a step, and resumes in place of a new "
                "run: move it away, or choose another folder by `default_root_dir`"
            )
        if checkpoint["callbacks"].get(self.state_key, {}).get("within_epoch"):
            last = path.with_name(LAST)
            advice = "begin a new run, in another folder by `default_root_dir`"  # where no epoch of this one has ended
            if last.is_file():
                advice = f"resume by `ckpt_path={from_here(last)}`"
            raise UsageError(
                f"{path} was saved within epoch {checkpoint['epoch'] + 1}, from where a resume would not be exact: "
                f"{advice}"
            )

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore which checkpoint is the best; in a run folder that was moved, it is the one in the folder."""
        if not self._fitting:  # a checkpoint is measured, which says nothing about the run that this trainer has made
            return
        self.best_score, self.best_epoch = state_dict["best_score"], state_dict["best_epoch"]
        self._best_step = state_dict.get("best_step", -1)
        self.best_metrics = state_dict.get("best_metrics", {MONITOR: self.best_score})  # all that 0.1 kept
        candidates = [self.folder / BEST, Path(state_dict["best_model_path"])]
        self.best_model_path = next((str(path) for path in candidates if path.is_file()), "")


def run_checkpoint(trainer: Trainer) -> RunCheckpoint | None:
    """The one of ``trainer``, whatever other callbacks save checkpoints too."""
    return next((saver for saver in trainer.checkpoint_callbacks if isinstance(saver, RunCheckpoint)), None)


def _epoch_and_step(path: Path) -> tuple[int, int] | None:
    """When a checkpoint was saved; None if there is none, or it is damaged."""
    try:
        with checked_file(path, "checkpoint"):
            saved = load_safely(path, "checkpoint", ("epoch", "global_step"))
    except DataError:
        return None
    epoch, step = saved.get("epoch"), saved.get("global_step")
    return (epoch, step) if isinstance(epoch, int) and isinstance(step, int) else None


def _can_begin_within(trainer: Trainer) -> bool:
    """Whether the training data can leave out what was trained of an epoch."""
    return data_of(trainer) is not None or hasattr(trainer.train_dataloader, "load_state_dict")
