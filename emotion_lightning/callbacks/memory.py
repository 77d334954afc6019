"""How many images a GPU's memory holds, found from what two small batches take."""

import gc
from collections.abc import Callable
from copy import deepcopy

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import nn
from torch.optim import AdamW

SHARE = 0.85
"""Part of the free memory that may be taken; the rest is for fragments, and for what convolutions borrow."""

TRIALS = ((8, 16), (2, 4))
"""Numbers of images in the two batches, and in those that are tried where these do not fit."""

HELD = 6
"""Times the weights that a run holds while it evaluates: weights, gradients, AdamW's two, the average and a swap."""

Peak = Callable[[int], int]
"""Bytes that are allocated at most while a batch of so many images is worked on."""


def training_capacity(trainer: Trainer, side: int) -> int | None:
    """Images of ``side`` pixels in the largest batch that can be trained on; ``None`` where no GPU's memory limits it.

    Every stage trains, with AdamW and the average of the weights. All ranks get the least that any of them has.
    """
    return _capacity(trainer, train, side, held=0)


def evaluation_capacity(trainer: Trainer, side: int) -> int | None:
    """Images of ``side`` pixels in the largest batch that can be evaluated, beside all that training holds.

    ``None`` where no GPU's memory limits it. All ranks get the least that any of them has.
    """
    return _capacity(trainer, evaluate, side, held=HELD)


def images_that_fit(peak: Peak, free: int) -> int:
    """Images that take ``SHARE`` of ``free`` bytes, if each image of a batch takes as much as any other.

    Args:
        peak: Measures a batch.
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


def train(model: LightningModule, trainer: Trainer, count: int, side: int, device: torch.device) -> None:
    """Take two optimizer steps with all that a run has in memory, on a copy of ``model``."""
    copy = _copy(model, trainer, device).requires_grad_(True).train()
    average = deepcopy(copy)
    optimizer = AdamW(copy.parameters())
    with torch.random.fork_rng([device] if device.type == "cuda" else []):  # dropout draws
        for _ in range(2):  # AdamW makes its state in the first
            with trainer.precision_plugin.forward_context():
                loss = copy(torch.zeros(count, 3, side, side, device=device)).float().square().mean()
            loss.backward()
            optimizer.step()
    del average


@torch.no_grad()
def evaluate(model: LightningModule, trainer: Trainer, count: int, side: int, device: torch.device) -> None:
    """Classify a batch with a copy of ``model``."""
    copy = _copy(model, trainer, device).eval()
    with trainer.precision_plugin.forward_context():
        copy(torch.zeros(count, 3, side, side, device=device))


def _capacity(trainer: Trainer, work: Callable[..., None], side: int, held: int) -> int | None:
    device, model = trainer.strategy.root_device, trainer.lightning_module
    if device.type != "cuda":
        return None

    def peak(count: int) -> int:
        _empty()
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        work(model, trainer, count, side, device)
        return torch.cuda.max_memory_allocated(device) - before

    _empty()
    free, _ = torch.cuda.mem_get_info(device)
    weights = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    found = images_that_fit(peak, free - held * weights)
    _empty()
    return _least(trainer, found)


def _least(trainer: Trainer, number: int) -> int:
    of_all_ranks = trainer.strategy.reduce(torch.tensor(number, device=trainer.strategy.root_device), reduce_op="min")
    return int(of_all_ranks)


def _copy(model: LightningModule, trainer: Trainer, device: torch.device) -> nn.Module:
    return trainer.precision_plugin.convert_module(deepcopy(model)).to(device)


def _empty() -> None:
    gc.collect()
    torch.cuda.empty_cache()
