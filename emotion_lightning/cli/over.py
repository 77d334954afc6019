"""A run that is over: a resume says so, and trains nothing."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_info

from emotion_lightning.errors import RunIsOver
from emotion_lightning.options import PROGRAM
from emotion_lightning.report.results import FOLDER, METRICS, PAGE, results_folder
from emotion_lightning.runs.config import of_checkpoint
from emotion_lightning.runs.ended import end_of_run
from emotion_lightning.runs.folder import pasted, run_of


def stop_if_over(path: str, checkpoint: Mapping[str, Any], trainer: Mapping[str, Any], report: bool) -> None:
    """End a resume from the checkpoint at ``path`` if it is the end of its run.

    A run that was killed before it was measured, or before it has the ``report`` that it is to have, goes on with that.

    Raises:
        RunIsOver: It is, and the run was measured.
        DataError: The checkpoint is damaged.
    """
    with of_checkpoint(path):
        end = end_of_run(checkpoint, trainer)
    if end is None:
        return
    run = run_of(path)
    longer = "--early_stopping.patience" if "early" in end else "--trainer.max_epochs"
    config = f" --config {pasted(run / 'config.yaml')}" if (run / "config.yaml").is_file() else ""
    said = (
        f"{run.name} is over: it {end}, and nothing is left to train. OneCycle is planned for a whole run, so to train "
        f"longer, begin a new one: {PROGRAM} fit{config} {longer} N"
    )
    results = [results_folder(run, "val") / METRICS, *[run / FOLDER / PAGE] * report]
    if all(file.is_file() and file.stat().st_mtime >= Path(path).stat().st_mtime for file in results):
        raise RunIsOver(said, run)
    rank_zero_info(said)
