"""Exponential moving average of the weights (Polyak and Juditsky, 1992), which validation, checkpoints and test use."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import StochasticWeightAveraging, WeightAveraging
from lightning.pytorch.utilities.types import STEP_OUTPUT
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from emotion_lightning.callbacks.rivals import refuse_rivals
from emotion_lightning.errors import UsageError
from emotion_lightning.model.finite import refuse_nonfinite

RAW = "raw_state_dict"
"""Key of a checkpoint for the weights that training goes on from; ``state_dict`` holds the average."""


def ema_decay(updates: int, decay: float) -> float:
    """Decay of update number ``updates`` (from 0): it grows from 0.1 to ``decay``, so that early weights fade soon."""
    return min(decay, (1 + updates) / (10 + updates))


class EMA(Callback):
    """Keeps a moving average of every weight and buffer, frozen or not.

    The average replaces the model's weights while it is validated and when training ends; a checkpoint holds it as
    ``state_dict``, so that what was measured is what is loaded. A resume gets both back.

    The average of weights in half precision is kept in float32: a step of 1e-4 is less than half precision can add.

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
        self._live: dict[str, Tensor] = {}  # the model's own tensors
        self._raw: dict[str, Tensor] = {}  # the training weights, while the model holds the average

    @property
    def average(self) -> dict[str, Tensor]:
        """The average itself by the tensors' names, during a fit; nothing where it is switched off."""
        return self._average

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Forget an earlier fit, also one that was interrupted: what is measured next has its own weights."""
        self._average, self._live, self._raw = {}, {}, {}
        if stage == "fit":
            self.updates = 0
            self.check_fit(trainer, pl_module)

    def check_fit(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse another average, and checkpoints of weights alone, of which Lightning tells no callback.

        Raises:
            UsageError: There is one, or a ``ModelCheckpoint`` has ``save_weights_only``.
        """
        for averager in (EMA, WeightAveraging, StochasticWeightAveraging):
            refuse_rivals(self, trainer, averager, "`ema.decay`")
        if self.decay and any(getattr(saver, "save_weights_only", False) for saver in trainer.checkpoint_callbacks):
            raise UsageError(
                "`save_weights_only` would save the training weights, but their average is what is validated; leave "
                "it out, or switch the average off by `decay=0`"
            )

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start from the model's weights, or go on from those of a checkpoint, on the model's device."""
        if self.decay == 0:
            return
        self._live = pl_module.state_dict()
        average = self._average or self._live
        self._average = {
            name: average[name].to(value.device, _average_dtype(value), copy=True) for name, value in self._live.items()
        }

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: STEP_OUTPUT, batch: Any, batch_idx: int
    ) -> None:
        """Follow each optimizer step; with accumulation there are fewer of them than batches."""
        if self.decay == 0 or trainer.global_step == self.updates:
            return
        names = [name for name, value in self._live.items() if value.is_floating_point()]
        update = get_ema_multi_avg_fn(ema_decay(self.updates, self.decay))  # type: ignore[no-untyped-call]
        update(
            [self._average[name] for name in names],
            [self._live[name].to(self._average[name].dtype) for name in names],
            self.updates,
        )
        for name in self._live.keys() - names:  # counters, which have no average
            self._average[name].copy_(self._live[name])
        self.updates = trainer.global_step

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the current decay."""
        pl_module.log("ema/decay", ema_decay(self.updates, self.decay) if self.decay else 0.0)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the average into the model."""
        self._put_average()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the training weights back."""
        self._put_back()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Put the training weights back if validation was interrupted."""
        self._put_back()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the average in the model; what is saved until the fit has ended still holds both."""
        self._put_average()

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the average in the model also when a run that was over is resumed, which trains nothing."""
        if self._average and not self._raw:
            pl_module.load_state_dict(self._average)  # by now the model may have left the device
        self._average, self._live, self._raw = {}, {}, {}

    def state_dict(self) -> dict[str, Any]:
        """Save the number of updates; the average itself is the checkpoint's ``state_dict``."""
        return {"updates": self.updates}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue the warm-up."""
        self.updates = state_dict["updates"]

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Save the average as the model's weights, and the training weights beside it, whichever the model has now."""
        if self._average:
            checkpoint[RAW] = self._raw or checkpoint["state_dict"]
            checkpoint["state_dict"] = dict(self._average)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Resume training from the training weights; any other use of the checkpoint keeps the average."""
        if trainer.state.fn != "fit" or RAW not in checkpoint:
            return
        if self.decay == 0:
            raise UsageError("the checkpoint holds averaged weights: `decay=0` cannot continue its run")
        refuse_nonfinite(checkpoint[RAW])
        self._average = dict(checkpoint["state_dict"])
        pl_module.load_state_dict(checkpoint[RAW])

    @torch.no_grad()
    def _put_average(self) -> None:
        if self._average and not self._raw:
            # whole before the first is replaced
            self._raw = {name: value.clone() for name, value in self._live.items()}
            for name, value in self._live.items():
                value.copy_(self._average[name])

    @torch.no_grad()
    def _put_back(self) -> None:
        for name, value in self._raw.items():
            self._live[name].copy_(value)
        self._raw = {}


def _average_dtype(value: Tensor) -> torch.dtype:
    return torch.promote_types(value.dtype, torch.float32) if value.is_floating_point() else value.dtype
