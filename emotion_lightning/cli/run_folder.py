"""Where a run of the command line is written: into a new folder, or into that of the run that is resumed."""

from pathlib import Path
from typing import Any

from emotion_lightning.callbacks.tensorboard_logger import RunLogger
from emotion_lightning.errors import UsageError
from emotion_lightning.runs.files import ensure_writable
from emotion_lightning.runs.folder import CHECKPOINTS, RUNS, new_run, run_of
from emotion_lightning.runs.temporary import sweep_below
from emotion_lightning.runtime.ranks import is_first_rank


def folder_to_write(checkpoint: str | None, root: str | None, name: str | None, again: bool) -> Path:
    """Choose the folder of a run, of which nothing is made yet.

    Args:
        checkpoint: File that the run goes on from.
        root: Folder that has, or gets, the folder of all runs.
        name: Name of a new run.
        again: Whether a job that is queued again may have begun it.

    Raises:
        UsageError: The name or the root cannot be that of the run.
        DataError: The folder cannot be written.
    """
    if checkpoint is not None and Path(checkpoint).resolve().parent.name == CHECKPOINTS:
        run = run_of(checkpoint)
        if root is not None and Path(root).resolve() not in (run, run.parent.parent):
            raise UsageError(f"--trainer.default_root_dir {root}: a resumed run goes on in {run}")
        ensure_writable(run, advice="copy the run's folder to where you can write, and resume it there")
        return run
    runs = Path(root or ".") / RUNS
    ensure_writable(runs)
    sweep_below(runs)
    return new_run(runs, name, again=again or not is_first_rank())  # which the first may have made by now


def refuse_two_folders(name: str | None, loggers: Any) -> None:
    """Refuse a ``name`` beside ``loggers`` that choose the folder of a run themselves.

    Raises:
        UsageError: There is such a logger.
    """
    given = loggers if isinstance(loggers, list) else [loggers]
    if name is not None and (folder := next(filter(None, (getattr(each, "log_dir", None) for each in given)), None)):
        raise UsageError(f"`name` {name}: the logger has a folder for the run, {folder}; give its version instead")


def tensorboard_logger(folder: Path) -> RunLogger:
    """Make the logger that writes into the ``folder`` of a run."""
    return RunLogger(folder.parent.parent, name=folder.parent.name, version=folder.name, default_hp_metric=False)
