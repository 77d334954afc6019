"""Checkpoints: the best, the last and one every few epochs, each written whole or not at all."""

from pathlib import Path
from typing import Any

import lightning.pytorch.callbacks as callbacks
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from lightning.pytorch.utilities.exceptions import SIGTERMException

from emotion_lightning.callbacks.data import validated_in_fit
from emotion_lightning.errors import DataError, UsageError
from emotion_lightning.evaluation.metrics import MONITOR
from emotion_lightning.options import PROGRAM
from emotion_lightning.runs.checkpoint_io import install
from emotion_lightning.runs.files import ensure_writable
from emotion_lightning.runs.folder import CHECKPOINTS, from_here, log_dir, pasted
from emotion_lightning.runs.loading import checked_file, load_safely
from emotion_lightning.runs.temporary import sweep_below

LAST = "last.ckpt"
"""Name of the checkpoint of the last epoch that has ended, from which a resume is exact."""

SCORES = ("val/accuracy", MONITOR, "val/loss")
"""Metrics of the best epoch that are kept with it."""


class RunCheckpoint(callbacks.Checkpoint):
    """Writes ``best.ckpt`` by validation macro F1, ``last.ckpt`` after every epoch, and ``epoch_004.ckpt`` and so on.

    The best holds the weights that were validated, wherever in an epoch that was. A resume is exact from its end,
    so a best checkpoint from within an epoch is refused there.

    Args:
        every_n_epochs: Keep a checkpoint every so many epochs; 0 keeps only the best and the last.

    Raises:
        UsageError: The number of epochs is negative.
        DataError: The folder cannot be written; said before training begins.
    """

    def __init__(self, every_n_epochs: int = 5):
        if every_n_epochs < 0:
            raise UsageError(f"`checkpoint.every_n_epochs` {every_n_epochs} is negative")
        self.every_n_epochs = every_n_epochs
        self.folder = Path()
        self.best_model_path = ""
        self.best_score = float("-inf")
        self.best_epoch = -1
        self.best_metrics: dict[str, float] = {}
        self._measured: dict[str, float] = {}  # of the weights that the model has now
        self._within_epoch, self._fitting = False, False

    @property
    def state_key(self) -> str:
        """Name of the state in a checkpoint, as version 0.1 wrote it."""
        return "Checkpoint"

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Forget an earlier run, and take up the folder of this one."""
        install(trainer)
        self._fitting = stage == "fit"
        if not self._fitting or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        self.best_model_path, self.best_score, self.best_epoch = "", float("-inf"), -1
        self.best_metrics, self._measured = {}, {}
        self.folder = log_dir(trainer).resolve() / CHECKPOINTS
        if trainer.is_global_zero:
            sweep_below(self.folder.parent)

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
        """Keep the best of a later epoch than that from which a run is resumed."""
        if trainer.fast_dev_run or not self.best_model_path:  # type: ignore[attr-defined]
            return
        best = self.folder / "best.ckpt"
        epoch = trainer.strategy.broadcast(_best_epoch(Path(self.best_model_path)) if trainer.is_global_zero else 0)
        if epoch == self.best_epoch:
            return
        if epoch is None:
            self._lose_best("is damaged")
            return
        kept = self.folder / f"best_epoch_{epoch:03d}.ckpt"  # better than the epochs up to here, but not one of them
        if trainer.is_global_zero and best.is_file():
            best.replace(kept)
        rank_zero_info(f"best.ckpt is of epoch {epoch}, later than the checkpoint resumed; kept as {kept.name}")
        self.best_model_path, self.best_score = "", float("-inf")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the score; within an epoch, keep the weights now if they are the best, as training changes them next."""
        if not validated_in_fit(trainer) or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        found = trainer.callback_metrics
        self._measured = {name: float(found[name]) for name in SCORES if name in found}
        if not trainer.is_last_batch:
            self._within_epoch = True
            self._save_best(trainer)
            self._within_epoch = False

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write what this epoch calls for."""
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        self._save_best(trainer)
        if self.every_n_epochs and (trainer.current_epoch + 1) % self.every_n_epochs == 0:
            self._save(trainer, f"epoch_{trainer.current_epoch:03d}.ckpt")
        self._save(trainer, LAST)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Say how to go on after an interruption."""
        last = self.folder / LAST
        if isinstance(exception, KeyboardInterrupt | SIGTERMException) and trainer.is_global_zero and last.is_file():
            by_command = any(isinstance(callback, SaveConfigCallback) for callback in trainer.callbacks)  # type: ignore[attr-defined]
            advice = f"{PROGRAM} fit --ckpt_path {pasted(last)}" if by_command else f"fit with ckpt_path={str(last)!r}"
            rank_zero_info(f"Interrupted in epoch {trainer.current_epoch}; to go on: {advice}")

    def _save_best(self, trainer: Trainer) -> None:
        """Write ``best.ckpt`` if the last validation was of the model's weights and none was better."""
        if trainer.strategy.broadcast(bool(self.best_model_path) and not Path(self.best_model_path).is_file()):
            self._lose_best("is gone")
        measured, self._measured = self._measured, {}
        if measured.get(MONITOR, float("-inf")) > self.best_score:
            self.best_score, self.best_epoch, self.best_metrics = measured[MONITOR], trainer.current_epoch, measured
            self.best_model_path = str(self.folder / "best.ckpt")
            self._save(trainer, "best.ckpt")

    def _lose_best(self, how: str) -> None:
        rank_zero_warn(
            f"{from_here(self.best_model_path)}, of epoch {self.best_epoch}, {how}: the best epoch from here on is put "
            "in its place"
        )
        self.best_model_path, self.best_score = "", float("-inf")

    def _save(self, trainer: Trainer, name: str) -> None:
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

    def state_dict(self) -> dict[str, Any]:
        """Save which checkpoint is the best, so that a resumed run does not replace it by a worse one."""
        return {
            "best_model_path": self.best_model_path,
            "best_score": self.best_score,
            "best_epoch": self.best_epoch,
            "best_metrics": self.best_metrics,
            "within_epoch": self._within_epoch,
        }

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Refuse to resume from within an epoch, whose other batches would be drawn anew.

        Raises:
            UsageError: The checkpoint was saved there.
        """
        if trainer.state.fn == "fit" and checkpoint["callbacks"].get(self.state_key, {}).get("within_epoch"):
            last = Path(str(trainer.ckpt_path)).with_name(LAST)
            advice = "begin a new run, in another folder by `default_root_dir`"  # where no epoch of this one has ended
            if last.is_file():
                advice = f"resume by `ckpt_path={from_here(last)}`"
            raise UsageError(
                f"{trainer.ckpt_path} was saved within epoch {checkpoint['epoch']}, from where a resume would not be "
                f"exact: {advice}"
            )

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore which checkpoint is the best; in a run folder that was moved, it is the one in the folder."""
        if not self._fitting:  # a checkpoint is measured, which says nothing about the run that this trainer has made
            return
        self.best_score, self.best_epoch = state_dict["best_score"], state_dict["best_epoch"]
        self.best_metrics = state_dict.get("best_metrics", {MONITOR: self.best_score})  # all that 0.1 kept
        candidates = [self.folder / "best.ckpt", Path(state_dict["best_model_path"])]
        self.best_model_path = next((str(path) for path in candidates if path.is_file()), "")
        if not self.best_model_path:
            self.best_score = float("-inf")  # a best that is gone must not hinder the next one


def run_checkpoint(trainer: Trainer) -> RunCheckpoint | None:
    """The one of ``trainer``, whatever other callbacks save checkpoints too."""
    return next((saver for saver in trainer.checkpoint_callbacks if isinstance(saver, RunCheckpoint)), None)


def _best_epoch(path: Path) -> int | None:
    """Epoch of a checkpoint; None if it is damaged."""
    try:
        with checked_file(path, "checkpoint"):
            epoch = load_safely(path, "checkpoint", ("epoch",)).get("epoch")
    except DataError:
        return None
    return epoch if isinstance(epoch, int) else None
