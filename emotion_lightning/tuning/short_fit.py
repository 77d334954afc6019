"""Trying a run out: on its device, in its precision, with its data and model; nothing is kept or logged."""

import logging
from collections.abc import Mapping
from tempfile import TemporaryDirectory
from typing import Any

from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer

from emotion_lightning.callbacks import BatchSize

SILENT = {
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "num_sanity_val_steps": 0,
    "profiler": None,
}
UNLIMITED = {
    "max_steps": -1,
    "max_time": None,
    "min_epochs": None,
    "min_steps": None,
    "overfit_batches": 0.0,
    "val_check_interval": None,
    "fast_dev_run": False,
}
"""What ends or changes a run, switched off for a rehearsal that has an end of its own."""


def short_fit(
    model: LightningModule,
    data: LightningDataModule,
    options: Mapping[str, Any],
    callbacks: list[Callback],
    **changes: Any,
) -> None:
    """Fit with a run's ``options``, as far as ``changes`` do not replace them, and with these ``callbacks`` alone.

    A batch size of auto is found before. What is written all the same goes to a folder that is gone in the end. What
    Lightning and the callbacks say about a shortened run is not shown; their warnings are.
    """
    talk = logging.getLogger("lightning.pytorch")
    level = talk.level
    talk.setLevel(logging.WARNING)
    model.train()  # as a new model is; an earlier rehearsal has left stages frozen
    try:
        with TemporaryDirectory() as folder:
            quiet = {**options, **SILENT, "default_root_dir": folder, "callbacks": [BatchSize(), *callbacks]}
            trainer = Trainer(**{**quiet, **changes})
            trainer.fit(model, datamodule=data)
    finally:
        talk.setLevel(level)
