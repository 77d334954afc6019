"""The recipe's callbacks; each works with a plain ``Trainer`` as well."""

from collections.abc import Mapping
from typing import Any

from lightning.pytorch import Callback

from emotion_lightning.callbacks.batch_size import BatchSize
from emotion_lightning.callbacks.calibration import Calibration
from emotion_lightning.callbacks.checkpoint import RunCheckpoint
from emotion_lightning.callbacks.data import data_of
from emotion_lightning.callbacks.disk_space import DiskSpace
from emotion_lightning.callbacks.divergence import Divergence
from emotion_lightning.callbacks.early_stopping import EarlyStopping
from emotion_lightning.callbacks.ema import EMA
from emotion_lightning.callbacks.epoch_rows import EpochRows
from emotion_lightning.callbacks.history import History
from emotion_lightning.callbacks.metrics_writer import MetricsWriter
from emotion_lightning.callbacks.progress_bar import ProgressBar
from emotion_lightning.callbacks.report import Report
from emotion_lightning.callbacks.save_data import SaveData
from emotion_lightning.callbacks.tensorboard import TensorBoardImages
from emotion_lightning.callbacks.throughput import Throughput
from emotion_lightning.callbacks.unfreeze import Unfreeze
from emotion_lightning.schedule import RECIPE_SCHEDULE, last_unfreezing

__all__ = [
    "EMA",
    "BatchSize",
    "Calibration",
    "DiskSpace",
    "Divergence",
    "EarlyStopping",
    "EpochRows",
    "History",
    "MetricsWriter",
    "ProgressBar",
    "Report",
    "RunCheckpoint",
    "SaveData",
    "TensorBoardImages",
    "Throughput",
    "Unfreeze",
    "data_of",
    "default_callbacks",
    "fixed_callbacks",
]


def fixed_callbacks() -> list[Callback]:
    """Those of the recipe's callbacks that have no options."""
    return [BatchSize(), DiskSpace(), SaveData(), Divergence(), Throughput(), History()]


def default_callbacks(
    schedule: Mapping[int, str] = RECIPE_SCHEDULE,
    ema_decay: float = 0.9999,
    patience: int = 15,
    every_n_epochs: int = 5,
    every_n_minutes: float = 15.0,
    precision: float | None = None,
    groups: list[str] | None = None,
) -> list[Callback]:
    """The recipe's callbacks, as the command line has them, but for the progress bar.

    Args:
        schedule: Epoch (from 0) to the lowest stage that trains from then on, as :class:`Unfreeze` takes it. Give the
            datamodule's ``unfreeze_epoch`` the first epoch in which a stage of the backbone trains.
        ema_decay: Decay of the average of the weights, in [0, 1).
        patience: Epochs without improvement after which training stops, counted from the last unfreezing.
        every_n_epochs: Keep a checkpoint, and draw for TensorBoard, every so many epochs; 0 leaves both out.
        every_n_minutes: Write the last checkpoint within an epoch when it is so many minutes old; 0 leaves that out.
        precision: Share of the answers that is to be right, in (0, 1); less sure answers are uncertain, as
            :class:`Calibration` says.
        groups: Columns of the data by whose values a checkpoint is also measured, as :class:`MetricsWriter` says.

    Raises:
        UsageError: A number is outside its range, or the schedule cannot work.
    """
    return [
        EpochRows(),
        Unfreeze(dict[Any, str](schedule)),
        EMA(ema_decay),
        EarlyStopping(patience, start_epoch=last_unfreezing(schedule)),
        RunCheckpoint(every_n_epochs, every_n_minutes),
        TensorBoardImages(every_n_epochs, dict(schedule)),
        Calibration(precision),
        MetricsWriter(groups),
        Report(),
        *fixed_callbacks(),
    ]
