"""How a command line is refused: in its own words, and so that nothing is left."""

import shutil
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer

from emotion_lightning.callbacks import (
    EMA,
    Calibration,
    EarlyStopping,
    MetricsWriter,
    Report,
    RunCheckpoint,
    TensorBoardImages,
    Unfreeze,
)
from emotion_lightning.cli.messages import PARAMETER, reason
from emotion_lightning.errors import DataError, DivergenceError, EmotionError, UsageError
from emotion_lightning.options import option_named
from emotion_lightning.runs.folder import log_dir
from emotion_lightning.runtime.ranks import is_first_rank

OWN = {
    Unfreeze: "`unfreeze.schedule`",
    EMA: "`ema.decay`",
    EarlyStopping: "`early_stopping.patience`",
    RunCheckpoint: "`checkpoint.every_n_epochs`",
    TensorBoardImages: "`tensorboard.every_n_epochs`",
    Calibration: "`predict.precision`",
    MetricsWriter: "`evaluation.groups`",
    Report: "`report.write`",
}
"""The recipe's callbacks, and the option by which each is set."""

RESTORING = "lightning.pytorch.trainer.connectors.checkpoint_connector"
"""Lightning's module that restores a checkpoint: what fails in it, the checkpoint lacks."""


@contextmanager
def remembered_options_named(args: Sequence[str], remembered: Mapping[str, Any]) -> Iterator[None]:
    """Add to an error which of the options that it names were not typed but are ``remembered`` by the checkpoint."""
    try:
        yield
    except EmotionError as error:
        named = [option_named(name) for name, value in PARAMETER.findall(str(error)) if not value]
        typed = {arg.partition("=")[0] for arg in args}
        found = [name for name in named if name and remembered.get(name) is not None and f"--{name}" not in typed]
        if found and "--config" not in typed:
            listed = ", ".join(f"`{name}`" for name in dict.fromkeys(found))
            error.args = (f"{error} (the checkpoint remembers {listed} of its run)",)
        raise


@contextmanager
def nothing_left_of_a_refusal(trainer: Trainer) -> Iterator[None]:
    """Make the folder of a run, and remove it if the run ends by an error before its first step: libraries check late.

    A folder that was there stays, as does one with a checkpoint in it, and of those above it one that is not empty.
    """
    folder = log_dir(trainer) if is_first_rank() else Path()
    new = [place for place in (folder, *folder.parents) if not place.exists()]
    if new:
        try:
            folder.mkdir(parents=True)  # so that of two runs that choose it at once one alone may remove it
        except FileExistsError:
            new = []
    try:
        yield
    except DivergenceError:  # of the first of accumulated batches: what it says is worth keeping
        raise
    except Exception:
        if new and trainer.global_step == 0 and not any(folder.rglob("*.ckpt")):
            shutil.rmtree(folder, ignore_errors=True)
        raise
    finally:
        for place in new:
            with suppress(OSError):
                place.rmdir()  # if nothing is in it


@contextmanager
def taken_up(path: str | None) -> Iterator[None]:
    """Say in one line what of the checkpoint at ``path`` Lightning could not restore.

    Raises:
        DataError: It is damaged, or was changed.
    """
    try:
        yield
    except EmotionError:
        raise
    except Exception as error:
        frames = (frame.f_globals.get("__name__") for frame, _ in traceback.walk_tb(error.__traceback__))
        if path is None or RESTORING not in frames:
            raise
        raise DataError(
            f"`ckpt_path` {path}: damaged, or changed: it cannot be restored ({type(error).__name__}: {reason(error)})"
        ) from error


def refuse_own(callbacks: Any) -> None:
    """Refuse a callback among those given that every run has.

    Raises:
        UsageError: There is one; the message names its option.
    """
    for callback in callbacks if isinstance(callbacks, list) else [callbacks]:
        if type(callback) in OWN:
            name, option = type(callback).__name__, OWN[type(callback)]
            raise UsageError(f"{name} is in every run: leave it out of `callbacks`, and use {option}")


def refuse_threshold(subcommand: str, args: Sequence[str]) -> None:
    """Refuse to choose a threshold for answers on what is no validation; a configuration may have one for ``fit``.

    Raises:
        UsageError: Another command than fit and validate was given the option.
    """
    if subcommand not in ("fit", "validate") and any(arg.partition("=")[0] == "--predict.precision" for arg in args):
        raise UsageError(
            f"`predict.precision` is for fit and validate, as a threshold is chosen on the validation split; "
            f"{subcommand} takes the one in the checkpoint"
        )


def refuse_strategy(strategy: Any) -> None:
    """Refuse a strategy under which the processes that train are not this one, nor tell it their steps.

    Raises:
        UsageError: It is one.
    """
    if isinstance(strategy, str) and strategy.startswith(("ddp_spawn", "ddp_fork", "ddp_notebook")):
        raise UsageError(f"`strategy` {strategy}: its processes hand nothing back; give `strategy=ddp`")
