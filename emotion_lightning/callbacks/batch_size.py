"""The size of the training batches: found by what a GPU's memory holds, and what it means for the learning rates."""

import gc
import math
from collections.abc import Callable, Mapping
from copy import deepcopy
from inspect import signature
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import BatchSizeFinder, LearningRateFinder
from lightning.pytorch.utilities import rank_zero_info
from torch.optim import AdamW

from emotion_lightning.callbacks.data import data_of
from emotion_lightning.callbacks.rivals import refuse_rivals
from emotion_lightning.data.loaders import RECIPE_BATCH
from emotion_lightning.errors import UsageError
from emotion_lightning.model.module import EmotionClassifier

RECIPE_RATES = {
    name: signature(EmotionClassifier).parameters[name].default for name in ("lr_backbone", "lr_classifier")
}
"""Learning rates that hold for steps of ``RECIPE_BATCH`` images."""

MOST = 1024
"""Most images of a training batch that is found."""

LEAST_STEPS = 8
"""Steps that an epoch has at least where its batch is found."""

SHARE = 0.85
"""Part of the free memory that may be taken; the rest is for fragments, and for what convolutions borrow."""

TRIALS = ((8, 16), (2, 4))
"""Numbers of images in the two batches that are measured, and in those that are tried where these do not fit."""


class BatchSize(Callback):
    """Finds the training batch where the data's ``batch_size`` is auto, and says what it means for the learning rates.

    Raises:
        UsageError: Not even two images fit into the GPU's memory, when a fit begins.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Give the data its batch size; Lightning sets the data up before, and makes the loaders later."""
        if stage != "fit":
            return
        self.check_fit(trainer, pl_module)
        data = data_of(trainer)
        if data is None:
            return
        auto = data.batch_size == "auto"
        if data.batch_size == "auto":
            side, images = max(data.resolutions.values()), len(data.indices("train")) // trainer.world_size
            data.batch_size = largest_batch(memory_capacity(trainer, pl_module, side), side, images)
            data.save_hyperparameters({"batch_size": data.batch_size})
        hint = lr_scaling_hint(pl_module.hparams, data.batch_size, trainer.accumulate_grad_batches, trainer.world_size)
        found = f"`batch_size=auto` is {data.batch_size}" if auto else None
        if parts := [part for part in (found, hint) if part]:
            rank_zero_info(f"Batches: {'; '.join(parts)}")

    def check_fit(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse Lightning's tuners, whose trial steps the recipe's OneCycle and checkpoints would take for training.

        Raises:
            UsageError: There is one.
        """
        refuse_rivals(self, trainer, BatchSizeFinder, "`batch_size=auto`")
        refuse_rivals(self, trainer, LearningRateFinder, "`lr_find` of the command line")


def largest_batch(capacity: int | None, side: int, images: int) -> int:
    """Largest power of two that fits into memory, and leaves an epoch 8 steps.

    Args:
        capacity: Images that fit into a GPU's memory; None without a GPU.
        side: Side of the images in pixels, for the message.
        images: Training images of each device.

    Returns:
        A number in [2, 1024]; without a GPU, whose memory would limit it, the recipe's 16.

    Raises:
        UsageError: Not even two images fit, which batch norm needs.
    """
    if capacity is None:
        return RECIPE_BATCH
    if capacity < 2:
        raise UsageError(
            f"`batch_size=auto`: not even two images of {side} pixels fit into the GPU's free memory; choose a "
            "smaller `image_size` or `backbone`"
        )
    return 1 << (max(2, min(capacity, MOST, images // LEAST_STEPS)).bit_length() - 1)


def lr_scaling_hint(hparams: Mapping[str, Any], batch_size: int, accumulated: int, devices: int) -> str | None:
    """What Adam's square-root rule says to a run whose steps have more or fewer images than the recipe's.

    Args:
        hparams: Options of the model.
        batch_size: Images of a batch on one device.
        accumulated: Batches of an optimizer step.
        devices: Devices, each with batches of its own.

    Returns:
        A line that states the rates; None if steps have the recipe's 16 images, or a rate is not the recipe's.
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


def memory_capacity(trainer: Trainer, model: LightningModule, side: int) -> int | None:
    """Images of ``side`` pixels in the largest batch that can be trained on; None where no GPU's memory limits it.

    Every stage trains, with AdamW and the average of the weights. All ranks get the least that any of them has.
    """
    device = trainer.strategy.root_device
    if device.type != "cuda":
        return None

    def peak(count: int) -> int:
        _free_memory()
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        train_steps(trainer, model, count, side, device)
        return torch.cuda.max_memory_allocated(device) - before

    _free_memory()
    free, _ = torch.cuda.mem_get_info(device)
    found = images_that_fit(peak, free)
    _free_memory()
    return _least_of_ranks(trainer, found)


def images_that_fit(peak: Callable[[int], int], free: int) -> int:
    """Images that take ``SHARE`` of ``free`` bytes, if each image of a batch takes as much as any other.

    Args:
        peak: Measures the bytes that are allocated at most while a batch of so many images is trained on.
        free: Bytes.

    Returns:
        0 where not even the smallest trial fits.
    """
    for fewer, more in TRIALS:
        try:
            low, high = peak(fewer), peak(more)
        except torch.OutOfMemoryError:
            continue
        each = max((high - low) / (more - fewer), 1.0)
        return max(0, int(more + (SHARE * free - high) / each))
    return 0


def train_steps(trainer: Trainer, model: LightningModule, count: int, side: int, device: torch.device) -> None:
    """Take two optimizer steps on a copy of ``model``, with all that a run has in memory."""
    copy = trainer.precision_plugin.convert_module(deepcopy(model)).to(device).requires_grad_(True).train()
    average = deepcopy(copy)
    optimizer = AdamW(copy.parameters())
    with torch.random.fork_rng([device] if device.type == "cuda" else []):  # dropout draws
        for _ in range(2):  # AdamW makes its state in the first
            with trainer.precision_plugin.forward_context():
                loss = copy(torch.zeros(count, 3, side, side, device=device)).float().square().mean()
            loss.backward()
            optimizer.step()
    del average


def _least_of_ranks(trainer: Trainer, number: int) -> int:
    return int(trainer.strategy.reduce(torch.tensor(number, device=trainer.strategy.root_device), reduce_op="min"))


def _free_memory() -> None:
    gc.collect()
    torch.cuda.empty_cache()
