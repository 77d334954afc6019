"""Lightning's commands, and how they end where Lightning itself ends them."""

import logging
import re
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from io import TextIOWrapper

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.fabric.utilities.spike import TrainingSpikeException
from lightning.pytorch import Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException

from emotion_lightning.callbacks.tensorboard_logger import say_nothing_of_writer
from emotion_lightning.cli.app import EmotionCLI
from emotion_lightning.cli.messages import reason
from emotion_lightning.cli.terminal import Lasting
from emotion_lightning.errors import DataError, EmotionError, UsageError
from emotion_lightning.runtime.allocator import tune_malloc
from emotion_lightning.runtime.signals import queued_again

NOISE = re.compile(
    r"GPU available: |TPU available: |LOCAL_RANK: |💡 Tip: |(\[rank: \d+\] )?Seed set to "
    r"|Using (bfloat16|16bit) Automatic Mixed Precision|Loading `train_dataloader` to estimate"
    r"|Restoring states from the checkpoint|Restored all states from|Loaded model weights from"
    r"|`Trainer.fit` stopped: \S*max_epochs"
)
"""How lines of Lightning begin that say nothing new to who has given the options; its warnings all stay."""

SPEAKING = (
    "lightning.pytorch.utilities.rank_zero",
    "lightning.pytorch.accelerators.cuda",
    "lightning.fabric.utilities.seed",
)
"""Loggers of those lines."""


def run_lightning(args: Sequence[str]) -> Trainer:
    """Run one of Lightning's commands and return its trainer; an interruption ends with 128 and the signal's number.

    Raises:
        UsageError: Lightning refuses an option.
        RunIsOver: A run that was to go on has ended.
        DataError: The loss rose so that a callback of Lightning's ends the run.
    """
    tune_malloc()
    threading.excepthook = say_nothing_of_writer
    try:
        with _said_on_standard_output(), queued_again() if args[0] == "fit" else nullcontext():
            return EmotionCLI(args).trainer
    except EmotionError:
        raise
    except MisconfigurationException as error:
        raise UsageError(str(error)) from error
    except TrainingSpikeException as error:
        raise DataError(
            f"{error}: the callback SpikeDetection ends a run at such a loss; last.ckpt is of the epoch before"
        ) from error
    except (ValueError, TypeError) as error:
        if not _is_raised_by_lightning(error):
            raise
        raise UsageError(reason(error)) from error
    except SIGTERMException:
        sys.exit(128 + 15)
    except SystemExit as end:
        if isinstance(end.__context__, KeyboardInterrupt):  # Lightning has cleaned up, and would end with 1
            sys.exit(128 + 2)
        raise
    finally:
        threading.excepthook = threading.__excepthook__


@contextmanager
def _said_on_standard_output() -> Iterator[None]:
    """Send what a run says there, with its results and without noise; on standard error are bars and warnings.

    A run goes on when whoever reads it has left.
    """
    output = sys.stdout
    if isinstance(output, TextIOWrapper):  # a terminal's is one already
        sys.stdout = Lasting(output)
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    own = [handler for logger in loggers for handler in logger.handlers if type(handler) is logging.StreamHandler]
    before = [(handler, handler.setStream(sys.stdout)) for handler in own]
    speaking = [logging.getLogger(name) for name in SPEAKING]
    for logger in speaking:
        logger.addFilter(_is_no_noise)
    try:
        yield
    finally:
        for logger in speaking:
            logger.removeFilter(_is_no_noise)
        for handler, stream in before:
            handler.setStream(stream or sys.stderr)
        sys.stdout = output


def _is_no_noise(record: logging.LogRecord) -> bool:
    return record.levelno > logging.INFO or not NOISE.match(record.getMessage())


def _is_raised_by_lightning(error: Exception) -> bool:
    """Say whether Lightning itself refuses an option, which it does by errors of Python's own as well."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return str(frame.f_globals.get("__name__", "")).startswith("lightning.")
