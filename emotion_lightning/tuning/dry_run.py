"""What a run would do and how long it would take, measured on a few of its steps."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from emotion_lightning.callbacks import EMA, Unfreeze
from emotion_lightning.data.datamodule import EmotionDataModule
from emotion_lightning.errors import UsageError
from emotion_lightning.model.module import EmotionClassifier
from emotion_lightning.schedule import Phase, augmentation_phase, parse_schedule, training_resolution, unfreeze_epoch
from emotion_lightning.tuning.plan import Plan, Planner, learning_rates
from emotion_lightning.tuning.short_fit import UNLIMITED, short_fit
from emotion_lightning.tuning.stopwatch import Stopwatch


@dataclass(frozen=True)
class PhaseCost:
    """What a phase of the schedule trains, and what that takes.

    Args:
        phase: Its epochs and stages.
        steps: Its optimizer steps.
        parameters: Parameters that train.
        augmentation: 1 (conservative) or 2 (aggressive).
        side: Side of its training images in pixels.
        first_rates: Learning rates of the classifier and of the backbone in the first step.
        last_rates: The same in the last step.
        step_seconds: SplitResults time of an optimizer step.
        images_per_second: SplitResults over all devices.
        peak_memory_gb: SplitResults peak of GPU memory in 10⁹ bytes; ``None`` without a GPU.
    """

    phase: Phase
    steps: int
    parameters: int
    augmentation: int
    side: int
    first_rates: tuple[float, float]
    last_rates: tuple[float, float]
    step_seconds: float
    images_per_second: float
    peak_memory_gb: float | None

    @property
    def seconds(self) -> float:
        """Expected time of the phase's training."""
        return self.steps * self.step_seconds


@dataclass(frozen=True)
class DryRun:
    """A run's plan, with the cost of its phases and the expected time of one of its validations."""

    plan: Plan
    costs: list[PhaseCost]
    validation_seconds: float
    device: str

    @property
    def seconds(self) -> float:
        """Expected time of the whole run, training and validation."""
        return sum(cost.seconds for cost in self.costs) + self.plan.validations * self.validation_seconds


def dry_run(
    model: EmotionClassifier,
    data: EmotionDataModule,
    options: Mapping[str, Any],
    schedule: Mapping[int, str],
    ema_decay: float,
) -> DryRun:
    """Measure some steps of every phase, each as an epoch of a short run with the real trainer; nothing is written.

    Args:
        model: The model; some steps change its weights.
        data: The data; augmentation and the images' sides follow the short run's epochs.
        options: The trainer's options. Callbacks among them are left out.
        schedule: Epoch to the lowest stage that trains, as ``Unfreeze`` takes it.
        ema_decay: As ``EMA`` takes it.

    Raises:
        UsageError: The options leave nothing to train on.
    """
    schedule = parse_schedule(schedule)
    plan = _plan(model, data, options, schedule)
    phases = plan.phases(schedule, data.resolutions)
    sides = [training_resolution(data.resolutions, phase.start) for phase in phases]
    lowest = {i: phase.stages[0] for i, phase in enumerate(phases)}
    watch = _measure(model, data, options, lowest, dict(enumerate(sides)), ema_decay, plan)
    parameters = {group.name: group.parameters for group in plan.groups}
    first_fine_tuned = unfreeze_epoch(schedule)
    costs = []
    for phase, side, seconds, memory in zip(phases, sides, watch.seconds, watch.peak_memory_gb, strict=True):
        steps = plan.steps_of(phase)
        cost = PhaseCost(
            phase=phase,
            steps=len(steps),
            parameters=sum(parameters[stage] for stage in phase.stages),
            augmentation=augmentation_phase(phase.start, first_fine_tuned),
            side=side,
            first_rates=learning_rates(model.hparams, plan.steps, steps[0]),
            last_rates=learning_rates(model.hparams, plan.steps, steps[-1]),
            step_seconds=seconds * plan.batches / plan.steps_per_epoch,
            images_per_second=plan.batch_size * plan.devices / seconds,
            peak_memory_gb=memory,
        )
        costs.append(cost)
    return DryRun(plan, costs, watch.val_seconds * plan.val_batches, watch.device)


def _plan(
    model: EmotionClassifier, data: EmotionDataModule, options: Mapping[str, Any], schedule: Mapping[int, str]
) -> Plan:
    every = options.get("check_val_every_n_epoch", 1)
    if not isinstance(options.get("val_check_interval"), int | float | None):
        raise UsageError("`val_check_interval` as a time cannot be planned: give batches, or leave it out")
    planner = Planner(every)
    once = {"check_val_every_n_epoch": None if every is None else 1}
    short_fit(model, data, options, [Unfreeze(dict(schedule)), planner], **once)
    if planner.plan is None:
        raise UsageError("`limit_train_batches` leaves no batch to train on")
    return planner.plan


def _measure(
    model: EmotionClassifier,
    data: EmotionDataModule,
    options: Mapping[str, Any],
    schedule: Mapping[int, str],
    sizes: dict[int, int],
    ema_decay: float,
    plan: Plan,
) -> Stopwatch:
    """Train each entry of ``schedule`` for some batches with images of ``sizes``, and validate some at the end.

    More workers read further ahead: as many batches are left out, and twice as many measured, so that data which
    come too slowly show.
    """
    if data.root is None:  # a built-in face takes long only once in a run, when it is drawn
        for index in [*data.indices("train"), *data.indices("val")]:
            data.manifest.read(index)
    watch = Stopwatch(warm_up=2 + plan.workers)
    data.unfreeze_epoch, data.resolutions = unfreeze_epoch(schedule), sizes
    changes = UNLIMITED | {
        "max_epochs": len(schedule),
        "limit_train_batches": min(7 + 3 * plan.workers, plan.batches),
        "limit_val_batches": min(5 + 3 * plan.workers, plan.val_batches),
        "check_val_every_n_epoch": len(schedule),
    }
    short_fit(model, data, options, [Unfreeze(dict(schedule)), EMA(ema_decay), watch], **changes)
    return watch
