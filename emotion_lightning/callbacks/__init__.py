"""The recipe's callbacks; each works with a plain ``Trainer`` as well."""

from emotion_lightning.callbacks.checkpoint import RunCheckpoint
from emotion_lightning.callbacks.early_stopping import EarlyStopping
from emotion_lightning.callbacks.ema import EMA
from emotion_lightning.callbacks.epoch_summary import EpochSummary
from emotion_lightning.callbacks.metrics_writer import MetricsWriter
from emotion_lightning.callbacks.prediction_writer import PredictionWriter
from emotion_lightning.callbacks.progress_bar import ProgressBar
from emotion_lightning.callbacks.report import Report
from emotion_lightning.callbacks.tensorboard import TensorBoardImages
from emotion_lightning.callbacks.throughput import Throughput
from emotion_lightning.callbacks.unfreeze import Unfreeze

__all__ = [
    "EMA",
    "EarlyStopping",
    "EpochSummary",
    "MetricsWriter",
    "PredictionWriter",
    "ProgressBar",
    "Report",
    "RunCheckpoint",
    "TensorBoardImages",
    "Throughput",
    "Unfreeze",
]
