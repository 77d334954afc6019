"""A dry run as text for a terminal of 100 columns or a log."""

from collections.abc import Mapping, Sequence
from typing import Any

from emotion_lightning.report.duration import duration
from emotion_lightning.schedule import STAGES
from emotion_lightning.tuning.dry_run import DryRun, PhaseCost
from emotion_lightning.tuning.plan import peak_step

AUGMENTATIONS = {1: "conservative", 2: "aggressive"}


def tables(run: DryRun, hparams: Mapping[str, Any], precision: object) -> str:
    """Tables of the phases, of their cost and of the optimizer's groups, and the expected time."""
    parts = [
        "Dry run: nothing was kept. What the run would do:",
        _schedule(run),
        f"What its phases cost, measured on a few steps of each ({run.device}, {precision}):",
        _costs(run),
        "The optimizer's groups:",
        _groups(run),
        _summary(run, hparams),
    ]
    return "\n\n".join(parts)


def _schedule(run: DryRun) -> str:
    total = sum(group.parameters for group in run.plan.groups)
    rows = [
        [
            _epochs(cost),
            _stages(cost),
            f"{cost.parameters / 1e6:.2f} of {total / 1e6:.2f} M",
            AUGMENTATIONS[cost.augmentation],
            f"{cost.first_rates[0]:.1e} -> {cost.last_rates[0]:.1e}",
            f"{cost.first_rates[1]:.1e} -> {cost.last_rates[1]:.1e}" if len(cost.phase.stages) > 1 else "frozen",
        ]
        for cost in run.costs
    ]
    return _table(["epochs", "stages", "parameters", "augmentation", "lr of classifier", "lr of backbone"], rows)


def _costs(run: DryRun) -> str:
    head = ["epochs", "image size", "steps", "ms per step", "images per s", "expected time", "peak GPU memory"]
    rows = [
        [
            _epochs(cost),
            f"{cost.side} px",
            f"{cost.steps:,}",
            f"{cost.step_seconds * 1e3:.1f}",
            f"{cost.images_per_second:,.0f}",
            duration(cost.seconds),
            *([] if cost.peak_memory_gb is None else [f"{cost.peak_memory_gb:.2f} GB"]),
        ]
        for cost in run.costs
    ]
    return _table(head[: len(rows[0])], rows)


def _groups(run: DryRun) -> str:
    rows = [
        [group.name, f"{group.parameters:,}", f"{group.peak_lr:.1e}", f"{group.weight_decay:g}"]
        for group in reversed(run.plan.groups)
    ]
    return _table(["group", "parameters", "peak lr", "weight decay"], rows)


def _summary(run: DryRun, hparams: Mapping[str, Any]) -> str:
    plan, training = run.plan, sum(cost.seconds for cost in run.costs)
    peak = peak_step(hparams, plan.steps)
    times = "" if plan.accumulated == 1 else f", {plan.accumulated} of them to a step"
    devices = "" if plan.devices == 1 else f" on each of {plan.devices} devices"
    return "\n".join(
        [
            f"Steps: {plan.steps_per_epoch:,} per epoch, {plan.steps:,} in all; batches of {plan.batch_size} images"
            f"{devices}{times}",
            f"Learning rates: highest at step {peak:,} (from 0), in epoch {peak // plan.steps_per_epoch}",
            f"Validation: {plan.val_batches:,} batches in {duration(run.validation_seconds)}, {plan.validations} times",
            f"Expected time: {duration(run.seconds)}, of which {duration(training)} training and "
            f"{duration(run.seconds - training)} validation.",
            "This is an estimate: the start, checkpoints and logging come on top, and early stopping may",
            "end the run sooner.",
        ]
    )


def _epochs(cost: PhaseCost) -> str:
    first, last = cost.phase.start, cost.phase.end - 1
    return f"{first}" if first == last else f"{first}-{last}"


def _stages(cost: PhaseCost) -> str:
    lowest = cost.phase.stages[0]
    if lowest == STAGES[0]:
        return "all"
    return lowest if len(cost.phase.stages) == 1 else f"{lowest} and above"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(line[column]) for line in [head, *rows]) for column in range(len(head))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in [head, *rows])
    return "\n".join(line.rstrip() for line in lines)
