"""How long an epoch trains and how many images it takes in a second."""

import time
from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.types import STEP_OUTPUT

from emotion_lightning.callbacks.data import validated_in_fit

NOTHING: Mapping[str, Any] = {"seconds": 0.0, "images": 0}


class Throughput(Callback):
    """Logs seconds and images per second of each epoch's training and of its validations, checkpoints left out.

    After each validation within an epoch they are those of all its validations so far. On a GPU it also logs the
    epoch's peak memory in GB (10⁹ bytes).
    """

    def __init__(self) -> None:
        self._start = self._end = self._validation_start = self._validation_end = 0.0
        self._images, self._validated = 0, (0.0, 0)  # seconds and images
        self._so_far: Mapping[str, Any] = NOTHING  # of the epoch that a resume goes on with

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Forget an earlier fit."""
        self._so_far = NOTHING

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Go on with the epoch that was interrupted, whose start a resumed run does not see."""
        self._images, self._validated = self._so_far["images"], self._so_far.get("validated", (0.0, 0))
        self._end = time.perf_counter()
        self._start = self._end - self._so_far["seconds"]

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._images, self._validated = 0, (0.0, 0)
        if pl_module.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        self._start = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: STEP_OUTPUT, batch: Any, batch_idx: int
    ) -> None:
        """Count the batch; wait for the device only after the last one."""
        self._images += len(batch[0]) * trainer.world_size
        if trainer.is_last_batch and pl_module.device.type == "cuda":
            torch.cuda.synchronize()
        self._end = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the epoch's time and speed."""
        seconds = self._end - self._start
        pl_module.log("train/epoch_seconds", seconds)
        pl_module.log("train/images_per_second", self._images / seconds)
        if pl_module.device.type == "cuda":
            pl_module.log("train/peak_memory_gb", torch.cuda.max_memory_allocated() / 1e9)

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock of a validation; one of a fit adds to those of its epoch."""
        if not validated_in_fit(trainer):
            self._validated = (0.0, 0)
        self._validation_start = time.perf_counter()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave a validation within an epoch out of the time of its training."""
        if validated_in_fit(trainer) and not trainer.is_last_batch:
            self._start += time.perf_counter() - self._validation_start

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: STEP_OUTPUT, batch: Any, batch_idx: int, *args: Any
    ) -> None:
        """Count the batch; wait for the device only after the last one."""
        seconds, images = self._validated
        self._validated = seconds, images + len(batch[0]) * trainer.world_size
        if pl_module.device.type == "cuda" and batch_idx + 1 == sum(trainer.num_val_batches):
            torch.cuda.synchronize()
        self._validation_end = time.perf_counter()

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the time and speed of the validations, without what other callbacks do at its end."""
        seconds, images = self._validated
        seconds += self._validation_end - self._validation_start
        self._validated = seconds, images
        pl_module.log("val/epoch_seconds", seconds)
        pl_module.log("val/images_per_second", images / seconds)

    def state_dict(self) -> dict[str, Any]:
        """Save what the epoch has taken so far."""
        return {"seconds": self._end - self._start, "images": self._images, "validated": self._validated}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from there."""
        self._so_far = state_dict
