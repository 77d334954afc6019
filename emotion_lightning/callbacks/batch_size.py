"""How many images a step takes, and what that means for the learning rates."""

import math
from collections.abc import Mapping
from typing import Any

from lightning.pytorch import Trainer

from emotion_lightning.callbacks.memory import evaluation_capacity, training_capacity
from emotion_lightning.errors import UsageError

RECIPE_BATCH = 16
"""Images of a training step for which the recipe's learning rates hold."""

RECIPE_RATES = {"lr_backbone": 1e-5, "lr_classifier": 1e-3}

MOST = 1024
"""Most images of a training batch that is found."""

LEAST_STEPS = 8
"""Steps that an epoch has at least where its batch is found."""

MOST_EVALUATED = 256
"""Images of an evaluation batch that is found: more are no faster, and workers hold several batches ready."""


def training_batch(trainer: Trainer, side: int, images: int) -> int:
    """Find the largest power of two that fits into a GPU's memory, for images of ``side`` pixels.

    Args:
        trainer: Has the model, its device and its precision.
        side: Side of the images in pixels.
        images: Training images of each device; an epoch has at least 8 steps.

    Returns:
        At most 1024. Without a GPU, whose memory would limit it, the recipe's 16.

    Raises:
        UsageError: Not even two images fit.
    """
    capacity = training_capacity(trainer, side)
    if capacity is None:
        return RECIPE_BATCH
    if capacity < 2:  # which batch norm needs
        raise UsageError(
            f"`batch_size=auto`: not even two images of {side} pixels fit into the GPU's free memory; choose a "
            "smaller `image_size` or `backbone`"
        )
    return _power_of_two(max(2, min(capacity, MOST, images // LEAST_STEPS)))


def evaluation_batch(trainer: Trainer | None, side: int, training: int) -> int:
    """Twice the ``training`` batch, as in the recipe; on a GPU, up to 256 images if they fit into its memory."""
    least = 2 * training
    if trainer is None or least >= MOST_EVALUATED:
        return least
    capacity = evaluation_capacity(trainer, side)
    return least if capacity is None else max(least, _power_of_two(max(2, min(capacity, MOST_EVALUATED))))


def batch_line(trainer: Trainer, batch_size: int, found: bool) -> str | None:
    """What a run says of its training batches: a size that was ``found``, and what it means for the learning rates."""
    accumulated, devices = trainer.accumulate_grad_batches, trainer.world_size
    rule = rate_rule(trainer.lightning_module.hparams, batch_size, accumulated, devices)
    parts = [f"`batch_size=auto` is {batch_size}" if found else None, rule]
    return "; ".join(part for part in parts if part) or None


def rate_rule(hparams: Mapping[str, Any], batch_size: int, accumulated: int, devices: int) -> str | None:
    """What Adam's square-root rule says to a run whose steps have more or fewer images than the recipe's.

    Args:
        hparams: Options of the model.
        batch_size: Images of a batch on one device.
        accumulated: Batches of an optimizer step.
        devices: Devices, each with batches of its own.

    Returns:
        A line that states the rates; ``None`` if steps have the recipe's 16 images, or a rate is not the recipe's.
    """
    images = batch_size * accumulated * devices
    if images == RECIPE_BATCH or any(hparams.get(name) != rate for name, rate in RECIPE_RATES.items()):
        return None
    factor = math.sqrt(images / RECIPE_BATCH)
    scaled = " ".join(f"`{name}={rate * factor:.2g}`" for name, rate in RECIPE_RATES.items())
    return (
        f"a step has {images} images ({batch_size} x {accumulated} accumulated x {devices} devices), and the learning "
        f"rates are the recipe's for {RECIPE_BATCH}; Adam's square-root rule (Krizhevsky, 2014; Malladi et al., 2022) "
        f"would give {scaled}"
    )


def _power_of_two(number: int) -> int:
    return 1 << (number.bit_length() - 1)
