"""The recipe's callbacks; each works with a plain ``Trainer`` as well."""

from emotion_lightning.callbacks.checkpoint import Checkpoint
from emotion_lightning.callbacks.dashboard import Dashboard
from emotion_lightning.callbacks.early_stopping import EarlyStopping
from emotion_lightning.callbacks.ema import EMA
from emotion_lightning.callbacks.epoch_line import EpochLine
from emotion_lightning.callbacks.predictions import Predictions
from emotion_lightning.callbacks.progress_bar import ProgressBar
from emotion_lightning.callbacks.report import Report
from emotion_lightning.callbacks.results import Results
from emotion_lightning.callbacks.step_loss import StepLoss
from emotion_lightning.callbacks.timing import Timing
from emotion_lightning.callbacks.unfreeze import Unfreeze

__all__ = [
    "EMA",
    "Checkpoint",
    "Dashboard",
    "EarlyStopping",
    "EpochLine",
    "Predictions",
    "ProgressBar",
    "Report",
    "Results",
    "StepLoss",
    "Timing",
    "Unfreeze",
]
