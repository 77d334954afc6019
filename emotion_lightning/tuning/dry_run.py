"""What a run would do, how long it would take and how much GPU memory it would need, measured in one short fit."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.types import STEP_OUTPUT

from emotion_lightning.callbacks import EMA, Unfreeze, data_of
from emotion_lightning.data.datamodule import EmotionDataModule
from emotion_lightning.errors import UsageError
from emotion_lightning.model.module import EmotionClassifier
from emotion_lightning.report.duration import duration
from emotion_lightning.schedule import (
    PHASES,
    STAGES,
    Phase,
    augmentation_phase,
    parse_schedule,
    phases,
    training_resolution,
)
from emotion_lightning.tuning.short_fit import short_fit

MEASURED = 5
"""Batches of each phase on the clock, and twice the number of workers more, so that slow reading shows."""


class BatchTimer:
    """Mean seconds of a batch, reading and computing; the first batches are left out.

    Args:
        warm_up: Batches to leave out; of few batches, at most a third.
        batches: Batches to take in all.
    """

    def __init__(self, warm_up: int, batches: int):
        self.warm_up, self.batches = min(warm_up, batches // 3), batches
        self.seconds = 0.0
        self._start = now()

    def end_of(self, batch_idx: int) -> None:
        """Read the clock after a batch, if it is the last of those left out or the last of all."""
        if batch_idx + 1 == self.warm_up:
            self._start = now()
        elif batch_idx + 1 == self.batches:
            self.seconds = (now() - self._start) / (self.batches - self.warm_up)


@dataclass(frozen=True)
class PhaseCost:
    """What a phase trains, and what it takes.

    Attributes:
        phase: Its epochs and stages.
        steps: Its optimizer steps.
        parameters: Parameters that train.
        augmentation: 0 (basic), 1 (conservative) or 2 (aggressive).
        side: Side of its training images in pixels.
        seconds: Expected time of its training.
        images_per_second: Measured over all devices.
        peak_memory_gb: Measured peak of GPU memory in 10⁹ bytes; None without a GPU.
    """

    phase: Phase
    steps: int
    parameters: int
    augmentation: int
    side: int
    seconds: float
    images_per_second: float
    peak_memory_gb: float | None


class PhaseByPhase(Callback):
    """Takes a few batches of each phase of the schedule, in the real epoch in which it begins, and times them.

    The trainer's epoch jumps from one phase to the next, so that everything that depends on the epoch (stages,
    augmentation, image sides) is what the run would have. Place it after all callbacks whose work shall be timed. A few
    validation batches are timed in the trainer's sanity check.

    Args:
        schedule: Parsed unfreezing schedule.
    """

    def __init__(self, schedule: Mapping[int, str]):
        self.schedule = schedule
        self.costs: list[PhaseCost] = []
        self.steps = self.validations = self.batch_size = 0
        self.validation_seconds = 0.0
        self._phases: list[Phase] = []
        self._timer = BatchTimer(0, 0)

    @property
    def seconds(self) -> float:
        """Expected time of the whole run, training and validation."""
        return sum(cost.seconds for cost in self.costs) + self.validations * self.validation_seconds

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock of the validation batches."""
        if trainer.sanity_checking:
            self._timer = BatchTimer(2, int(sum(trainer.num_sanity_val_batches)))

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: STEP_OUTPUT, batch: Any, batch_idx: int, *args: Any
    ) -> None:
        """Read the clock of the validation batches."""
        if trainer.sanity_checking:
            self._timer.end_of(batch_idx)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Ask the trainer, which honors every option about the length of a run, for the numbers of the whole run."""
        batches, val_batches = int(trainer.num_training_batches), int(sum(trainer.num_val_batches))
        assert trainer.max_epochs is not None
        assert trainer.val_check_batch is not None  # the interval is no time
        self.validation_seconds = self._timer.seconds * val_batches
        self.steps = int(trainer.estimated_stepping_batches)
        self._steps_per_epoch = -(-batches // trainer.accumulate_grad_batches)
        whole_epochs, every = self.steps // self._steps_per_epoch, trainer.check_val_every_n_epoch
        if val_batches and every is None:
            self.validations = self.steps * trainer.accumulate_grad_batches // int(trainer.val_check_batch)
        elif val_batches and every is not None:
            self.validations = whole_epochs // every * (batches // int(trainer.val_check_batch))
        epochs = min(trainer.max_epochs, -(-self.steps // self._steps_per_epoch))
        data = data_of(trainer)
        self._phases = phases(self.schedule, epochs, data.resolutions if data else ())

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock of a phase."""
        if pl_module.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        loader: Any = trainer.train_dataloader
        self.batch_size = int(loader.batch_size)
        workers = loader.num_workers  # they read ahead, so that as many batches more must be left out
        self._timer = BatchTimer(2 + workers, min(2 + MEASURED + 3 * workers, int(trainer.num_training_batches)))

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Skip the rest of the epoch, as Lightning does where the module's own hook returns -1."""
        if batch_idx == self._timer.batches:
            raise StopIteration

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: STEP_OUTPUT, batch: Any, batch_idx: int
    ) -> None:
        """Read the clock of a phase."""
        self._timer.end_of(batch_idx)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note what the phase takes, and go to the epoch in which the next one begins."""
        self.costs.append(self._cost(trainer, pl_module))
        if len(self.costs) == len(self._phases):
            trainer.should_stop = True
        else:  # one less, since Lightning counts this epoch as completed now
            trainer.fit_loop.epoch_progress.current.completed = self._phases[len(self.costs)].start - 1

    def _cost(self, trainer: Trainer, pl_module: LightningModule) -> PhaseCost:
        phase, data = self._phases[len(self.costs)], data_of(trainer)
        first, last = (min(epoch * self._steps_per_epoch, self.steps) for epoch in (phase.start, phase.end))
        batches_per_step = int(trainer.num_training_batches) / self._steps_per_epoch
        return PhaseCost(
            phase,
            steps=last - first,
            parameters=sum(p.numel() for p in pl_module.parameters() if p.requires_grad),
            augmentation=augmentation_phase(phase.start, data.unfreeze_epoch, data.augmentation) if data else 0,
            side=training_resolution(data.resolutions, phase.start) if data else 0,
            seconds=(last - first) * batches_per_step * self._timer.seconds,
            images_per_second=self.batch_size * trainer.world_size / self._timer.seconds,
            peak_memory_gb=torch.cuda.max_memory_allocated() / 1e9 if pl_module.device.type == "cuda" else None,
        )


def dry_run(
    model: EmotionClassifier,
    data: EmotionDataModule,
    options: Mapping[str, Any],
    schedule: Mapping[int, str],
    ema_decay: float,
) -> PhaseByPhase:
    """Measure some steps of every phase with the real trainer, in one fit; nothing is written.

    Args:
        model: The model; some steps change its weights.
        data: The data.
        options: The trainer's options. Callbacks among them are left out.
        schedule: Epoch to the lowest stage that trains, as ``Unfreeze`` takes it.
        ema_decay: As ``EMA`` takes it.

    Raises:
        UsageError: The options leave nothing to train on, or give a time where batches are needed.
    """
    if not isinstance(options.get("val_check_interval"), int | float | None):
        raise UsageError("`val_check_interval` as a time cannot be planned: give batches, or leave it out")
    if data.root is None:  # a built-in face takes long only when it is drawn, once in a run
        for index in [*data.indices("train"), *data.indices("val")]:
            data.manifest.read(index)
    measured = PhaseByPhase(parse_schedule(schedule))
    changes = {"num_sanity_val_steps": 2 + MEASURED, "max_time": None, "min_epochs": None, "min_steps": None}
    short_fit(model, data, options, [Unfreeze(dict[Any, str](schedule)), EMA(ema_decay), measured], **changes)
    if not measured.costs:
        raise UsageError("`limit_train_batches` leaves no batch to train on")
    return measured


def table(run: PhaseByPhase, precision: object) -> str:
    """Write what a dry run found as one table, with the time of the whole run below."""
    head = ["epochs", "trains", "million", "augmentation", "px", "steps", "images/s", "time", "GPU memory"]
    rows = [
        [
            f"{cost.phase.start}" + (f"-{cost.phase.end - 1}" if cost.phase.end - 1 > cost.phase.start else ""),
            "all" if cost.phase.stages[0] == STAGES[0] else cost.phase.stages[0] + "+" * (len(cost.phase.stages) > 1),
            f"{cost.parameters / 1e6:.2f}",
            PHASES[cost.augmentation],
            f"{cost.side}",
            f"{cost.steps:,}",
            f"{cost.images_per_second:,.0f}",
            duration(cost.seconds),
            *([] if cost.peak_memory_gb is None else [f"{cost.peak_memory_gb:.2f} GB"]),
        ]
        for cost in run.costs
    ]
    lines = [head[: len(rows[0])], *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    validation = run.validations * run.validation_seconds
    return "\n".join(
        [
            f"Dry run, in {precision}, with batches of {run.batch_size} images; nothing was kept. The run would train:",
            *("  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines),
            f"In all {run.steps:,} steps and {run.validations} validations in {duration(run.seconds)}, "
            f"{duration(validation)} of it validation.",
            "This is an estimate without start, checkpoints and logging; early stopping may end the run sooner.",
        ]
    )


def now() -> float:
    """Seconds on a clock, read when the GPU has finished."""
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.synchronize()
    return time.perf_counter()
