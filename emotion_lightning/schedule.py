"""What trains when: pure functions of the epoch, so that neither a resume nor a worker can miss a change."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from math import ceil, isfinite, nan
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from emotion_lightning.errors import UsageError

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

LEAST_SIDE = 24
"""Smallest side in pixels of an image that a network is given.

Of 16 pixels, four halvings leave one, and for a fifth convolution over one pixel oneDNN in bf16 leaves part of the
gradient unset (seen in PyTorch 2.15).
"""

STAGES = ("stem", "layer1", "layer2", "layer3", "layer4", "classifier")
"""Stages of every network from input to output; each is one optimizer group."""

SYNONYMS = {"classifier_only": "classifier", "all": "stem", "all_layers": "stem"}

RECIPE_SCHEDULE: dict[Any, str] = {0: "classifier_only", 10: "layer4", 20: "layer3", 30: "layer2", 40: "all_layers"}


RECIPE_EPOCHS = 80

Augmentation = Literal["progressive", "basic", "conservative", "aggressive"]
PHASES = ("basic", "conservative", "aggressive")
"""Phases of augmentation, as they are counted in logs."""

Schedule = Mapping[int, str] | Mapping[float, str] | Mapping[str, str] | str
"""Epoch, or part of the run in [0, 1), to the lowest stage that trains from then on; or scaled."""


def in_epochs(schedule: Schedule, epochs: int | None) -> dict[int, str]:
    """Return a schedule that may be in parts of a run as one in epochs.

    Args:
        schedule: As ``Schedule``; scaled is the recipe's, in proportion to the run. A part that ends within an epoch
            ends with it, so that the classifier never loses its first epoch alone.
        epochs: Length of the run; None or a number below 1 where it is not known.

    Raises:
        UsageError: A key is neither, both kinds are mixed, or parts are of a run of unknown length.
    """
    if isinstance(schedule, str):
        if schedule != "scaled":
            raise UsageError(f"`schedule` {schedule} is neither scaled nor of epochs and stages")
        schedule = {epoch / RECIPE_EPOCHS: stage for epoch, stage in RECIPE_SCHEDULE.items()}
    starts = {_start(key): stage for key, stage in schedule.items()}
    if all(start.is_integer() for start in starts):
        return {int(start): stage for start, stage in starts.items()}
    if not all(0 <= start < 1 for start in starts):
        raise UsageError(f"`schedule` {dict(schedule)} mixes epochs and parts of the run, which are below 1")
    if epochs is None or epochs < 1:
        raise UsageError("`schedule` is in parts of the run, whose length `max_epochs` must give")
    return {ceil(round(start * epochs, 6)): stage for start, stage in sorted(starts.items())}


def _start(key: float | str) -> float:
    try:
        start = float(key)
    except ValueError:
        start = nan
    if not isfinite(start):
        raise UsageError(f"`schedule`: {key!r} is no epoch and no part of the run")
    return start


def parse_schedule(schedule: Mapping[int, str]) -> dict[int, str]:
    """Check an unfreezing schedule and return it sorted, with one name per stage.

    Args:
        schedule: Epoch (from 0) to the lowest stage that trains from then on; a stage's name means it and all above.

    Raises:
        UsageError: An unknown stage, a negative epoch, no entry for epoch 0, or a later entry that freezes again.
    """
    if not schedule or min(schedule) != 0:
        raise UsageError(f"`schedule` {dict(schedule)} must begin with epoch 0, such as {{0: classifier_only}}")
    parsed = {}
    for epoch, name in sorted(schedule.items()):
        stage = SYNONYMS.get(name, name)
        if stage not in STAGES:
            known = ", ".join((*STAGES[::-1], *SYNONYMS))
            raise UsageError(f"`schedule` names an unknown stage '{name}' at epoch {epoch}; known: {known}")
        parsed[epoch] = stage
    depths = [STAGES.index(stage) for stage in parsed.values()]
    if depths != sorted(depths, reverse=True):
        raise UsageError(f"`schedule` {dict(schedule)} freezes a stage again; each entry must reach deeper")
    return parsed


def trainable_stages(schedule: Mapping[int, str], epoch: int) -> tuple[str, ...]:
    """Stages that train in ``epoch``, from input to output, under a parsed ``schedule``."""
    lowest = schedule[max(start for start in schedule if start <= epoch)]
    return STAGES[STAGES.index(lowest) :]


def named_stages(stages: Sequence[str]) -> str:
    """Name those that train, given from input to output, by the lowest: ``all``, ``from layer4`` or ``classifier``."""
    lowest = stages[0]
    return {STAGES[0]: "all", STAGES[-1]: STAGES[-1]}.get(lowest, f"from {lowest}")


def last_unfreezing(schedule: Schedule, epochs: int | None = None) -> int:
    """Epoch of a run of ``epochs`` from which nothing more will be unfrozen."""
    parsed = parse_schedule(in_epochs(schedule, epochs))
    deepest = list(parsed.values())[-1]
    return next(epoch for epoch, stage in parsed.items() if stage == deepest)


def unfreeze_epoch(schedule: Schedule, epochs: int | None = None) -> int | None:
    """First epoch of a run of ``epochs`` in which a stage of the backbone trains, or ``None`` if none ever does."""
    parsed = parse_schedule(in_epochs(schedule, epochs))
    return next((epoch for epoch, stage in parsed.items() if stage != "classifier"), None)


def augmentation_phase(epoch: int, unfreeze_epoch: int | None, augmentation: Augmentation = "progressive") -> int:
    """Phase 1 (conservative) until fine-tuning starts, phase 2 (aggressive) from then on; or that which was chosen."""
    if augmentation != "progressive":
        return PHASES.index(augmentation)
    return 2 if unfreeze_epoch is not None and epoch >= unfreeze_epoch else 1


def parse_resolutions(schedule: Mapping[int, int] | None, image_size: int) -> dict[int, int]:
    """Check a schedule of the training images' sides and return it sorted.

    Args:
        schedule: Epoch (from 0) to the side in pixels from then on; ``None`` for ``image_size`` throughout.
        image_size: Side in pixels at which the network is evaluated.

    Raises:
        UsageError: No entry for epoch 0, a negative epoch, or a side that is not in [24, ``image_size``].
    """
    if schedule is None:
        return {0: image_size}
    if not schedule or min(schedule) != 0:
        raise UsageError(f"`resolution_schedule` {dict(schedule)} must begin with epoch 0, such as {{0: {image_size}}}")
    for epoch, side in schedule.items():
        if not LEAST_SIDE <= side <= image_size:
            raise UsageError(
                f"`resolution_schedule` has images of {side} pixels at epoch {epoch}; a side is at least "
                f"{LEAST_SIDE} and at most `image_size` {image_size}"
            )
    return dict(sorted(schedule.items()))


def training_resolution(sizes: Mapping[int, int], epoch: int) -> int:
    """Side in pixels of the training images in ``epoch`` under parsed ``sizes``."""
    return sizes[max(start for start in sizes if start <= epoch)]


def warn_unreached(name: str, schedule: Iterable[int], trainer: "Trainer") -> None:
    """Warn of epochs in the ``schedule`` of parameter ``name`` that the run of ``trainer`` never reaches."""
    epochs = trainer.max_epochs
    late = [epoch for epoch in schedule if epochs and 0 < epochs <= epoch]
    if late and not trainer.fast_dev_run:  # type: ignore[attr-defined]
        from lightning.pytorch.utilities import rank_zero_warn  # slow to import, for what only answers

        rank_zero_warn(f"`{name}` has entries at epochs {late}, which a run of `max_epochs` {epochs} never reaches")


class Phase(NamedTuple):
    """Epochs from ``start`` to before ``end`` in which ``stages`` train."""

    start: int
    end: int
    stages: tuple[str, ...]


def phases(schedule: Mapping[int, str], epochs: int, sizes: Iterable[int] = ()) -> list[Phase]:
    """Stretches between two entries of a parsed ``schedule`` or of ``sizes``; those beyond ``epochs`` are left out."""
    starts = sorted(epoch for epoch in {*schedule, *sizes} if epoch < epochs)
    return [Phase(start, end, trainable_stages(schedule, start)) for start, end in pairwise([*starts, epochs])]
