"""Exponential moving average of the weights (Polyak and Juditsky, 1992), which validation, checkpoints and test use."""

from collections.abc import Collection
from typing import Any, NamedTuple

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.types import STEP_OUTPUT
from torch import Tensor, nn

from emotion_lightning.errors import UsageError

RAW = "raw_state_dict"
"""Key of a checkpoint under which the weights that train on are kept; ``state_dict`` holds the average."""


def ema_decay(updates: int, decay: float) -> float:
    """Decay of update number ``updates`` (from 0): it grows from 0.1 to ``decay``, so that early weights fade soon."""
    return min(decay, (1 + updates) / (10 + updates))


class Moving(NamedTuple):
    """Tensors that a step may change: averages with the values that they follow, copies with the counters."""

    averages: list[Tensor]
    values: list[Tensor]
    counts: list[Tensor]
    counters: list[Tensor]


class EMA(Callback):
    """Keeps a moving average of every weight and buffer, frozen or not.

    The average takes the model's place while it is validated and when training ends; a checkpoint holds it as
    ``state_dict``, so that what was measured is what is loaded. A resume gets both back.

    Args:
        decay: Share of the old average that each optimizer step keeps, in [0, 1); 0 switches the average off.

    Raises:
        UsageError: The decay is outside its range.
    """

    def __init__(self, decay: float = 0.9999):
        if not 0 <= decay < 1:
            raise UsageError(f"`decay` {decay} is not in [0, 1)")
        self.decay = decay
        self.updates = 0
        self._average: dict[str, Tensor] = {}
        self._live: dict[str, Tensor] = {}
        self._equal: set[str] = set()
        self._moving: Moving | None = None
        self._swapped = False

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start from the model's weights, or go on from those of a checkpoint, on the model's device."""
        if self.decay == 0:
            return
        self._live = pl_module.state_dict()
        average = self._average or self._live
        self._average = {
            name: average[name].to(value.device).clone(memory_format=torch.preserve_format)
            for name, value in self._live.items()
        }

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look anew what equals its average: while it stays frozen, no update changes it."""
        self._equal = {name for name, value in self._average.items() if torch.equal(value, self._live[name])}
        self._moving = None

    @torch.no_grad()
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: STEP_OUTPUT, batch: Any, batch_idx: int
    ) -> None:
        """Follow each optimizer step; with accumulation there are fewer of them than batches."""
        if self.decay == 0 or trainer.global_step == self.updates:
            return
        weight = 1 - ema_decay(self.updates, self.decay)
        self.updates = trainer.global_step
        if self._moving is None:
            self._moving = self._find_moving(pl_module)  # not before all that freezes or unfreezes has done so
        torch._foreach_lerp_(self._moving.averages, self._moving.values, weight)
        if self._moving.counters:
            torch._foreach_copy_(self._moving.counts, self._moving.counters)  # these have no average

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the decay that holds now."""
        pl_module.log("ema/decay", ema_decay(self.updates, self.decay) if self.decay else 0.0)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the average into the model."""
        if self._average and not self._swapped:
            self._swap()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the training weights back."""
        if self._swapped:
            self._swap()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Put the training weights back where validation was interrupted."""
        if self._swapped:
            self._swap()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the average in the model."""
        if self._average:
            self._swap()
            self._average, self._live, self._moving, self._swapped = {}, {}, None, False

    def state_dict(self) -> dict[str, Any]:
        """Save the number of updates; the average itself is the checkpoint's ``state_dict``."""
        return {"updates": self.updates}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue the warm-up."""
        self.updates = state_dict["updates"]

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Save the average as the model's weights, and the training weights beside it."""
        if self._average:
            checkpoint[RAW] = checkpoint["state_dict"]
            checkpoint["state_dict"] = dict(self._average)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Resume training from the training weights; any other use of the checkpoint keeps the average."""
        if trainer.state.fn != "fit" or RAW not in checkpoint:
            return
        if self.decay == 0:
            raise UsageError("the checkpoint holds averaged weights: `decay=0` cannot continue its run")
        self._average = dict(checkpoint["state_dict"])
        pl_module.load_state_dict(checkpoint[RAW])

    def _find_moving(self, pl_module: LightningModule) -> Moving:
        """Leave out what equals its average and is frozen, as a stage is that never trained."""
        return self._pairs(self._equal - _trainable(pl_module))

    def _pairs(self, excluded: Collection[str] = ()) -> Moving:
        names = [name for name in self._live if name not in excluded]
        floating = [name for name in names if self._live[name].is_floating_point()]
        others = [name for name in names if not self._live[name].is_floating_point()]
        return Moving(
            [self._average[name] for name in floating],
            [self._live[name] for name in floating],
            [self._average[name] for name in others],
            [self._live[name] for name in others],
        )

    @torch.no_grad()
    def _swap(self) -> None:
        moving = self._moving or self._pairs()  # what does not move is its average
        for average, value in zip(moving.averages + moving.counts, moving.values + moving.counters, strict=True):
            held = value.clone()
            value.copy_(average)
            average.copy_(held)
        self._swapped = not self._swapped


def _trainable(model: nn.Module) -> set[str]:
    """Names of the weights that train, and of the buffers of modules that do."""
    weights = {name for name, value in model.named_parameters(remove_duplicate=False) if value.requires_grad}
    buffers = {
        f"{prefix}.{name}" if prefix else name
        for prefix, module in model.named_modules(remove_duplicate=False)
        if module.training
        for name, _ in module.named_buffers(recurse=False)
    }
    return weights | buffers
