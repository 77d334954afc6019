"""This project as ``fit`` runs it: its Trainer, datamodule, module and callbacks, left after some steps."""

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from copy import deepcopy
from tempfile import TemporaryDirectory
from typing import Any

import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.types import STEP_OUTPUT
from torch import Tensor
from torch.utils.data import DataLoader

from benchmarks.clock import BatchTimer
from benchmarks.setting import PHASES, Setting
from emotion_lightning.callbacks import ProgressBar, default_callbacks
from emotion_lightning.cli.app import RECIPE_TRAINER
from emotion_lightning.data.datamodule import EmotionDataModule
from emotion_lightning.model.module import EmotionClassifier
from emotion_lightning.runtime.allocator import tune_malloc
from emotion_lightning.runtime.precision import resolve_precision


class Measured(Exception):
    """Leaves a fit when all is measured, without the work of an epoch's end."""


class StopAfter(Callback):
    """Leaves the fit with the lap; it belongs behind all other callbacks, whose work it times."""

    def __init__(self, lap: BatchTimer) -> None:
        self.lap = lap

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: STEP_OUTPUT, batch: Any, batch_idx: int
    ) -> None:
        """Count the step."""
        if self.lap.end_of_step():
            raise Measured


class Synthetic(LightningDataModule):
    """One batch of random numbers in place of images."""

    def __init__(self, setting: Setting) -> None:
        super().__init__()
        self.class_names, self.seed, self.unfreeze_epoch = setting.class_names, setting.seed, 0
        size, count = setting.image_size, setting.batch_size
        indices = torch.arange(count)
        self.batch = torch.randn(count, 3, size, size), indices % len(self.class_names), indices
        self.batches = setting.warm_up + setting.steps + 1

    def train_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        """The batch again and again."""
        return DataLoader([self.batch] * self.batches, batch_size=None)


class Ours:
    """The real thing, with the recipe's defaults.

    TensorBoard gets no pictures: in a run they come once in a phase and every five epochs.

    Args:
        setting: What to run with.
        synthetic: Feed random numbers in place of images.
        without: Kinds of callbacks to leave out.
    """

    def __init__(self, setting: Setting, synthetic: bool = False, without: tuple[type[Callback], ...] = ()) -> None:
        self.setting, self.without = setting, without
        torch.manual_seed(setting.seed)
        self.model = EmotionClassifier(setting.class_names, setting.backbone, pretrained=False, seed=setting.seed)
        self.data: LightningDataModule = Synthetic(setting) if synthetic else images(setting)

    def measure(self, phase: str, lap: BatchTimer) -> None:
        """Train in a run whose schedule has this phase from epoch 0."""
        assert isinstance(self.data, EmotionDataModule | Synthetic)
        tune_malloc()  # as the command line does
        self.data.unfreeze_epoch = None if phase == "classifier only" else 0
        watcher, options = StopAfter(lap), {"limit_val_batches": 0}
        fit(self.setting, deepcopy(self.model), self.data, PHASES[phase], watcher, self.without, **options)


def images(setting: Setting) -> EmotionDataModule:
    """The datamodule of the images."""
    return EmotionDataModule(
        root=str(setting.root),
        image_size=setting.image_size,
        batch_size=setting.batch_size,
        num_workers=setting.workers,
        seed=setting.seed,
    )


def fit(
    setting: Setting,
    model: EmotionClassifier,
    data: LightningDataModule,
    lowest: str,
    watcher: Callback,
    without: tuple[type[Callback], ...] = (),
    **options: Any,
) -> None:
    """Fit as the command line does, without a word, until ``watcher`` raises ``Measured``."""
    recipe = [each for each in default_callbacks({0: lowest}, every_n_epochs=0) if not isinstance(each, without)]
    accelerator = "gpu" if setting.on_gpu else "cpu"
    with TemporaryDirectory() as folder, silence():
        trainer = Trainer(
            **RECIPE_TRAINER
            | {
                "accelerator": accelerator,
                "devices": 1,
                "precision": resolve_precision("16-mixed", accelerator, model),
                "callbacks": [*recipe, ProgressBar(), watcher],
                "logger": TensorBoardLogger(folder, default_hp_metric=False),
                "num_sanity_val_steps": 0,
            }
            | options
        )
        try:
            trainer.fit(model, data)
        except Measured:
            return
    raise RuntimeError("the run ended before all was measured")


@contextmanager
def silence() -> Iterator[None]:
    """Keep what a run says and shows to itself; its progress bar works, but is not seen."""
    talk = logging.getLogger("lightning.pytorch")
    level = talk.level
    talk.setLevel(logging.ERROR)
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        talk.setLevel(level)
