"""A fit that only tries a run out: on its device, in its precision, with its data and model; nothing is kept."""

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
    "profiler": None,
}


def short_fit(
    model: LightningModule,
    data: LightningDataModule,
    options: Mapping[str, Any],
    callbacks: list[Callback],
    **changes: Any,
) -> None:
    """Fit with the trainer's ``options`` of a run, except for ``changes``, and with only these ``callbacks``.

    A batch size of auto is found first. Files that are written all the same go to a temporary folder. Messages about
    the shortened run are not shown; its warnings are.
    """
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.WARNING)
    model.train()  # as a new model is; an earlier short fit may have frozen stages
    try:
        with TemporaryDirectory() as folder:
            short = {**options, **SILENT, "default_root_dir": folder, "callbacks": [BatchSize(), *callbacks]}
            Trainer(**{**short, **changes}).fit(model, datamodule=data)
    finally:
        logger.setLevel(level)
