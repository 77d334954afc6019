"""How long a batch takes, on whatever device trains."""

import time
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.types import STEP_OUTPUT


class Lap:
    """Mean seconds of a batch: reading it and working on it; the first ones are left out.

    Args:
        warm_up: Batches to leave out; where there are few batches, no more than a third of them.
    """

    def __init__(self, warm_up: int):
        self.warm_up = warm_up
        self.seconds = 0.0
        self._left_out = self._batches = 0
        self._start = 0.0

    def start(self, batches: int) -> None:
        """Start before the first of ``batches``."""
        self._batches, self._left_out = batches, min(self.warm_up, batches // 3)
        self._start = _now()

    def end_of(self, batch_idx: int) -> None:
        """Read the clock after a batch, if it is the last of those left out or the last of all."""
        if batch_idx + 1 == self._left_out:
            self._start = _now()
        elif batch_idx + 1 == self._batches:
            self.seconds = (_now() - self._start) / (self._batches - self._left_out)


class Stopwatch(Callback):
    """Times the batches of each epoch and those of the last validation; on a GPU, notes each epoch's peak memory.

    It belongs behind all other callbacks, whose work it times as well.

    Args:
        warm_up: Batches to leave out at the start of each epoch and validation.
    """

    def __init__(self, warm_up: int):
        self.seconds: list[float] = []
        self.peak_memory_gb: list[float | None] = []
        self.device = ""
        self._train, self._val = Lap(warm_up), Lap(warm_up)

    @property
    def val_seconds(self) -> float:
        """Seconds of a validation batch."""
        return self._val.seconds

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start an epoch's clock."""
        self.device = str(pl_module.device.type)
        if self.device == "cuda":
            self.device = torch.cuda.get_device_name()
            torch.cuda.reset_peak_memory_stats()
        self._train.start(int(trainer.num_training_batches))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: STEP_OUTPUT, batch: Any, batch_idx: int
    ) -> None:
        """Read an epoch's clock."""
        self._train.end_of(batch_idx)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start a validation's clock."""
        self._val.start(int(sum(trainer.num_val_batches)))

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: STEP_OUTPUT, batch: Any, batch_idx: int, *args: Any
    ) -> None:
        """Read a validation's clock."""
        self._val.end_of(batch_idx)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the epoch's figures."""
        self.seconds.append(self._train.seconds)
        on_gpu = pl_module.device.type == "cuda"
        self.peak_memory_gb.append(torch.cuda.max_memory_allocated() / 1e9 if on_gpu else None)


def _now() -> float:
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # what was asked of it may not be done yet
        torch.cuda.synchronize()
    return time.perf_counter()
