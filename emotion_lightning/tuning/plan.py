"""What a run will do: its steps as its trainer counts them, its phases and its learning rates."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn

from emotion_lightning.model.optim import build_optimizer, build_scheduler
from emotion_lightning.schedule import Phase, phases


class Group(NamedTuple):
    """A group of the optimizer."""

    name: str
    parameters: int
    peak_lr: float
    weight_decay: float


@dataclass(frozen=True)
class Plan:
    """The numbers of a run.

    Args:
        max_epochs: Epochs unless the steps end before.
        steps: Optimizer steps of the whole run.
        batches: Training batches of an epoch and device.
        accumulated: Batches of an optimizer step.
        batch_size: Images of a batch on one device.
        devices: Devices, each with batches of its own.
        workers: Processes of each device that read images.
        val_batches: Validation batches of an epoch and device.
        val_check_batch: Training batches from one validation to the next.
        validate_every: Epochs from one validation to the next; ``None`` if only batches are counted.
        groups: The optimizer's groups.
    """

    max_epochs: int
    steps: int
    batches: int
    accumulated: int
    batch_size: int
    devices: int
    workers: int
    val_batches: int
    val_check_batch: int
    validate_every: int | None
    groups: tuple[Group, ...]

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps of an epoch; the last may have fewer batches."""
        return -(-self.batches // self.accumulated)

    @property
    def epochs(self) -> int:
        """Epochs that are begun; ```max_steps``` may end the run within the last."""
        return min(self.max_epochs, -(-self.steps // self.steps_per_epoch))

    @property
    def validations(self) -> int:
        """Validations of the whole run; an epoch that ```max_steps``` cuts short has none."""
        if self.val_batches == 0:
            return 0
        if self.validate_every is None:
            return self.steps * self.accumulated // self.val_check_batch
        return self.steps // self.steps_per_epoch // self.validate_every * (self.batches // self.val_check_batch)

    def phases(self, schedule: Mapping[int, str], sizes: Mapping[int, int]) -> list[Phase]:
        """Phases of a parsed ``schedule``, and of parsed ``sizes``, that the run reaches."""
        return phases(schedule, self.epochs, sizes)

    def steps_of(self, phase: Phase) -> range:
        """Optimizer steps of ``phase``, counted from 0 over the whole run."""
        return range(phase.start * self.steps_per_epoch, min(phase.end * self.steps_per_epoch, self.steps))


class Planner(Callback):
    """Notes the plan of a run when all is set up, and ends it before its first step.

    Args:
        validate_every: Epochs from one validation to the next; the trainer itself must have 1, or it would not yet know
            the validation's batches. ``None`` if only batches are counted.
    """

    def __init__(self, validate_every: int | None):
        self.validate_every = validate_every
        self.plan: Plan | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Ask the trainer, which honors every option about the length of a run."""
        loader: Any = trainer.train_dataloader
        assert trainer.max_epochs is not None
        assert trainer.val_check_batch is not None  # the loader has a length, and no time is given
        self.plan = Plan(
            max_epochs=trainer.max_epochs,
            steps=int(trainer.estimated_stepping_batches),
            batches=int(trainer.num_training_batches),
            accumulated=trainer.accumulate_grad_batches,
            batch_size=loader.batch_size,
            devices=trainer.world_size,
            workers=loader.num_workers,
            val_batches=int(sum(trainer.num_val_batches)),
            val_check_batch=int(trainer.val_check_batch),
            validate_every=self.validate_every,
            groups=tuple(
                Group(group["name"], sum(p.numel() for p in group["params"]), group["max_lr"], group["weight_decay"])
                for group in trainer.optimizers[0].param_groups
            ),
        )
        trainer.should_stop = True


def learning_rates(hparams: Mapping[str, Any], steps: int, step: int) -> tuple[float, float]:
    """Learning rates of the classifier and of the backbone in ``step`` (from 0) of a run of ``steps``."""
    stages = {stage: [nn.Parameter(torch.empty(0))] for stage in ("classifier", "backbone")}
    optimizer = build_optimizer(
        stages, *(hparams[name] for name in ("lr_backbone", "lr_classifier", "weight_decay", "eps"))
    )
    scheduler = build_scheduler(optimizer, steps, hparams["pct_start"])
    scheduler.load_state_dict(scheduler.state_dict() | {"last_epoch": step - 1})
    optimizer.step()  # nothing to move, but schedulers insist on the order
    scheduler.step()
    classifier, backbone = (float(group["lr"]) for group in optimizer.param_groups)
    return classifier, backbone


def peak_step(hparams: Mapping[str, Any], steps: int) -> int:
    """Step (from 0) of a run of ``steps`` in which the learning rates are highest."""
    rise = int(hparams["pct_start"] * steps)
    near = {min(max(step, 0), steps - 1) for step in range(rise - 2, rise + 2)}
    return max(near, key=lambda step: learning_rates(hparams, steps, step))
