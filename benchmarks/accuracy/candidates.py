"""Remedies for a thaw that a study tries out as callbacks; what proves its worth becomes an option of the product."""

from typing import cast

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn
from torch.optim import Optimizer
from torch.optim.swa_utils import update_bn

from emotion_lightning.batch import Batch, normalize
from emotion_lightning.callbacks import EMA, data_of
from emotion_lightning.model.backbone import BatchNorm
from emotion_lightning.model.module import EmotionClassifier
from emotion_lightning.schedule import STAGES, parse_schedule


class RestingBatchNorm(Callback):
    """Keeps all BatchNorm of the backbone in evaluation mode in the epochs after each unfreezing.

    Args:
        schedule: The run's unfreezing.
        epochs: How many epochs each rest lasts.
    """

    def __init__(self, schedule: dict[int, str], epochs: int = 1):
        self.thaws = [epoch for epoch in parse_schedule(schedule) if epoch > 0]
        self.epochs = epochs

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        """Come after Unfreeze, which sets the modes when an epoch starts."""
        if any(0 <= trainer.current_epoch - thaw < self.epochs for thaw in self.thaws):
            for module in cast(nn.Module, pl_module.backbone).modules():
                if isinstance(module, BatchNorm):
                    module.eval()


class ReestimatedBatchNorm(Callback):
    """Takes the statistics of the averaged weights anew on the unaugmented training images before each validation.

    Izmailov et al. (2018) do so for averaged weights, whose own statistics no step has seen.

    Args:
        after: Epoch from which it does; before, the backbone is frozen.
    """

    def __init__(self, after: int):
        self.after = after

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Come after EMA, which puts the average into the model when validation starts, and give it the statistics."""
        data = data_of(trainer)
        if batch_idx or trainer.state.fn != "fit" or data is None or trainer.current_epoch < self.after:
            return
        backbone = cast(EmotionClassifier, pl_module).backbone
        modes = {module: module.training for module in backbone.modules()}
        loader = (
            normalize(torch.nn.functional.interpolate(images.float() / 255, size=data.image_size, mode="bilinear"))
            for images, *_ in data.train_dataloader()
        )
        backbone.train()
        update_bn(loader, backbone, device=pl_module.device)
        for module, mode in modes.items():
            module.training = mode
        [ema] = [callback for callback in trainer.callbacks if isinstance(callback, EMA)]  # type: ignore[attr-defined]
        tensors = pl_module.state_dict()
        for name in (name for name in ema.average if "running_" in name):
            ema.average[name].copy_(tensors[name])


class LayerDecay(Callback):
    """Gives each stage of the backbone a smaller rate than the one above it (Clark et al., 2020, ELECTRA).

    Args:
        decay: Share of the rate above that each stage has, in (0, 1]; layer4 has all of ``lr_backbone``.
    """

    def __init__(self, decay: float):
        self.decay = decay

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Set the peaks; of a resumed run too, whose groups already have them."""
        depth = {stage: place for place, stage in enumerate(reversed(STAGES[:-1]))}
        for group in trainer.optimizers[0].param_groups:
            if group["name"] in depth:
                peak = pl_module.hparams["lr_backbone"] * self.decay ** depth[group["name"]]
                scale = peak / group["max_lr"]
                for key in ("max_lr", "initial_lr", "min_lr", "lr"):
                    group[key] *= scale


class ThawWarmUp(Callback):
    """Lets the rate of the backbone rise from 0 after each unfreezing.

    Args:
        schedule: The run's unfreezing.
        steps: How many steps the rise takes.
    """

    def __init__(self, schedule: dict[int, str], steps: int):
        self.thaws = [epoch for epoch in parse_schedule(schedule) if epoch > 0]
        self.steps = steps

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Lower the rate of this step; OneCycle sets that of the next."""
        steps_per_epoch = int(trainer.num_training_batches)
        last = max((thaw for thaw in self.thaws if thaw <= trainer.current_epoch), default=None)
        if last is None:
            return
        done = trainer.global_step - last * steps_per_epoch
        if done < self.steps:
            for group in optimizer.param_groups:
                if group["name"] != "classifier":
                    group["lr"] *= (done + 1) / self.steps
