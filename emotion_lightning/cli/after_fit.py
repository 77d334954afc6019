"""After a fit: the best checkpoint is measured, and the result and the next commands are printed."""

import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from emotion_lightning.callbacks.checkpoint import LAST, run_checkpoint
from emotion_lightning.callbacks.data import measured_part
from emotion_lightning.data.datamodule import EmotionDataModule
from emotion_lightning.errors import DataError
from emotion_lightning.model.module import EmotionClassifier
from emotion_lightning.options import PROGRAM
from emotion_lightning.report.advice import advice
from emotion_lightning.report.run import Run
from emotion_lightning.report.summary import summary
from emotion_lightning.runs.folder import pasted, run_dir
from emotion_lightning.runtime.signals import Interrupted


def conclude(trainer: Trainer, model: EmotionClassifier, data: EmotionDataModule) -> None:
    """Measure the best checkpoint, and print the run's result and the next commands.

    Raises:
        DataError: Nothing was trained.
    """
    if trainer.global_step == 0:
        raise DataError("nothing was trained: see `limit_train_batches`, `max_steps` and `max_time`")
    checkpoint, loggers = run_checkpoint(trainer), trainer.loggers
    if checkpoint is None:
        rank_zero_info("\nNo checkpoint was kept, as `enable_checkpointing` is false")
        return
    measured, last = checkpoint.best_model_path, checkpoint.folder / LAST
    if not measured and checkpoint.best_epoch >= 0 and last.is_file():
        measured = str(last)  # the best was lost, as was said
    if not measured:
        rank_zero_info(
            "\nNo checkpoint is the best, as no validation was taken: see `limit_val_batches`, "
            "`check_val_every_n_epoch`, `val_check_interval` and `max_steps`" + _next_commands(data, last, loggers)
        )
        return
    best = f"\nBest epoch {checkpoint.best_epoch + 1}: validation macro F1 {checkpoint.best_score:.4f}"
    rank_zero_info(
        (f"{best}{measured_part(trainer)}" if checkpoint.best_model_path else "\nThe best checkpoint was lost")
        + f"\nCheckpoint: {pasted(measured)}, which is now measured on the validation split"
    )
    if not _measure(trainer, model, data, measured):
        rank_zero_info(_next_commands(data, Path(measured), loggers))
        return
    run = run_dir(trainer)
    if trainer.is_global_zero:
        found = Run(run)
        rank_zero_info(f"\n{pasted(run)}\n{summary(found, 'val')}")
        for said in advice(found, found.results["val"].metrics):
            rank_zero_info(f"\n{said}")
        report = f"{PROGRAM} report {pasted(run)}"
        rank_zero_info(_next_commands(data, Path(measured), loggers, report))


def report_so_far(trainer: Trainer, model: EmotionClassifier, data: EmotionDataModule, end: Interrupted) -> None:
    """Measure the best checkpoint of a run that a signal has ended; another signal ends this at once.

    A job that is queued again has no time for it, and processes of others may have gone.
    """
    checkpoint = run_checkpoint(trainer)
    if not end.code or trainer.world_size > 1 or checkpoint is None or not checkpoint.best_model_path:
        return
    rank_zero_info(f"The best so far, of epoch {checkpoint.best_epoch + 1}, is now measured; Ctrl-C leaves at once")
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)  # at once, not after the library that is at work
    try:
        _measure(trainer, model, data, checkpoint.best_model_path)
    finally:
        signal.signal(signal.SIGINT, before)


def _measure(trainer: Trainer, model: EmotionClassifier, data: EmotionDataModule, checkpoint: str) -> bool:
    """Measure a checkpoint on the validation split; say so where that fails, as on a full disk, and return False."""
    trainer.loggers = []  # the curves have this epoch already
    try:
        trainer.validate(model, data, checkpoint, verbose=False)
    except DataError as error:  # what was trained is kept
        rank_zero_warn(f"the best checkpoint has no report: {error}")
        return False
    return True


def _next_commands(data: EmotionDataModule, checkpoint: Path, loggers: Sequence[Any], *more: str) -> str:
    """Write the commands that go on with ``checkpoint``, as they can be pasted."""
    given = f"--ckpt_path {pasted(checkpoint)}"
    commands = [f"{PROGRAM} test {given}"] if data.indices(data.test_split) else []
    if data.root is not None and data.root.is_dir():
        output = checkpoint.parents[1] / "predictions.csv"
        commands.append(f"{PROGRAM} predict {given} {pasted(data.root)} --output {pasted(output)}")
    folders = [logger.root_dir for logger in loggers if isinstance(logger, TensorBoardLogger)]
    commands += [*more, *(f"tensorboard --logdir {pasted(folder)}" for folder in folders)]
    return "\n  ".join(["\nNext:", *commands])
