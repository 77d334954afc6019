"""One aligned row for each epoch, which stays on the terminal and in the log."""

import sys
from collections.abc import Mapping

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from tqdm import tqdm

from emotion_lightning.callbacks.checkpoint import run_checkpoint
from emotion_lightning.callbacks.data import measured_part, validated_in_fit
from emotion_lightning.evaluation.metrics import MONITOR
from emotion_lightning.schedule import STAGES, named_stages

TITLES = ("epoch", "trains", "lr", "train loss", "val loss", "accuracy", "macro F1 ", "time")
WIDTHS = (5, -11, 7, 10, 8, 8, 9, 7)
"""Of the columns, 79 together with two spaces between them; negative where text begins on the left."""


class EpochRows(Callback):
    """Prints what was logged of each epoch in one row on standard output, above the bar where one is drawn.

    Accuracy and macro F1 are validation's, and a star marks the best macro F1 so far. A validation within an epoch has
    a row of its own. Epochs count from 1. In a list of callbacks it belongs first, so that the row of an epoch stands
    before what others say of the next one.
    """

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self._best, self._is_best = float("-inf"), False
        self._headed = self._validated = False
        self._ended: int | None = None  # an epoch whose figures are not all logged yet

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Forget an earlier fit."""
        if stage == "fit":
            self._forget()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """See whether it is the best; print the row of a validation within an epoch."""
        if not validated_in_fit(trainer):
            return
        checkpoint, score = run_checkpoint(trainer), float(trainer.callback_metrics.get(MONITOR, float("-inf")))
        best = self._best if checkpoint is None else checkpoint.best_score  # which a resume knows
        self._validated, self._is_best, self._best = True, score > best, max(score, best)
        if not trainer.is_last_batch:
            self._print(trainer, trainer.current_epoch, f"at step {trainer.global_step}")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note that the epoch is over; others have yet to log of it."""
        self._ended = trainer.current_epoch

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the row of the epoch before."""
        self._end_epoch(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the row of the last epoch."""
        self._end_epoch(trainer)

    def _end_epoch(self, trainer: Trainer) -> None:
        if self._ended is not None:
            self._print(trainer, self._ended)
            self._ended = None

    def _print(self, trainer: Trainer, epoch: int, where: str = "") -> None:
        every = trainer.callback_metrics
        # the trainer still has what earlier epochs logged
        of_epoch = {name: every[name] for name in every if self._validated or not name.startswith("val/")}
        if where:
            of_epoch = {name: value for name, value in of_epoch.items() if name.startswith("val/")}
        planned = trainer.max_epochs or -1
        number = f"{epoch + 1}/{planned}" if 0 < planned < 100 else str(epoch + 1)  # the bar has more room
        line = f"{row(number, of_epoch, self._is_best)}  {where}".rstrip()
        if trainer.is_global_zero:
            if not self._headed:
                tqdm.write(header(measured_part(trainer) if sum(trainer.num_val_batches) else ""), sys.stdout)
            tqdm.write(line, sys.stdout)
            sys.stdout.flush()  # a file has it while the run goes on
        self._headed, self._validated, self._is_best = True, False, False


def header(part: str = "") -> str:
    """The titles of the columns, below a line that says of which ``part`` of the split validation is, if not of all."""
    said = f"Validation is of {part.strip(' ()')}\n" if part else ""
    return f"\n{said}{_aligned(TITLES)}"


def row(epoch: str, metrics: Mapping[str, Tensor], best: bool) -> str:
    """Write what was logged of an epoch below the titles; what was not is a dash.

    Args:
        epoch: Its number.
        metrics: By the names under which they were logged.
        best: Whether its macro F1 is the best so far.
    """
    found = {name: float(value) for name, value in metrics.items()}

    def number(name: str, form: str = ".4f") -> str:
        return f"{found[name]:{form}}" if name in found else "-"

    stages, seconds = found.get("schedule/trainable_stages"), found.get("train/epoch_seconds")
    star = "*" if best else " "
    return _aligned(
        (
            epoch,
            "-" if stages is None else named_stages(STAGES[-int(stages) :]),
            number("lr/classifier", ".1e"),
            number("train/loss"),
            number("val/loss"),
            number("val/accuracy"),
            number(MONITOR) + star,
            "-" if seconds is None else _time(seconds + found.get("val/epoch_seconds", 0)),
        )
    )


def _time(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 59.95 else tqdm.format_interval(seconds)


def _aligned(cells: tuple[str, ...]) -> str:
    return "  ".join(
        cell.rjust(width) if width > 0 else cell.ljust(-width) for cell, width in zip(cells, WIDTHS, strict=True)
    )
