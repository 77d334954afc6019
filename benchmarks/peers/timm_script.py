"""timm's own pieces, put together as its training script does with ``--amp`` on a GPU and without on a CPU."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import torch
from timm.data import FastCollateMixup, create_loader
from timm.loss import SoftTargetCrossEntropy
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from timm.utils import AverageMeter, ModelEmaV3, NativeScaler, dispatch_clip_grad, freeze
from torch import Tensor, nn

from benchmarks.clock import BatchTimer, run_lap
from benchmarks.peers.network import Pictures, build_network, endless, stage_parameters
from benchmarks.setting import Setting, stages_of

AUGMENTATION: Mapping[int, Mapping[str, Any]] = {
    1: {"scale": (0.76, 0.77), "ratio": (1.0, 1.0), "color_jitter": (0.2, 0.2, 0.2, 0.1)},
    2: {
        "scale": (0.8, 1.0),
        "ratio": (0.9, 1.1),
        "color_jitter": (0.3, 0.3, 0.3, 0.15),
        "grayscale_prob": 0.1,
        "re_prob": 0.1,
        "re_mode": "pixel",
    },
}
"""The recipe's phases as far as timm's transforms go, which neither turn nor shear outside of its policies."""


class TimmScript:
    """The training script's loop."""

    def __init__(self, setting: Setting) -> None:
        self.setting, self.network = setting, build_network(setting)

    def measure(self, phase: str, lap: BatchTimer) -> None:
        """Train as ``train_one_epoch`` does."""
        setting = self.setting
        loader = create_loader(
            Pictures(*setting.files()),
            input_size=(3, setting.image_size, setting.image_size),
            batch_size=setting.batch_size,
            is_training=True,
            num_workers=setting.workers,
            persistent_workers=setting.workers > 0,
            pin_memory=setting.on_gpu,
            collate_fn=FastCollateMixup(
                mixup_alpha=0.3,
                cutmix_alpha=1.0,
                prob=0.8,
                label_smoothing=0.1,
                num_classes=len(setting.class_names),
            ),
            device=torch.device(setting.device),
            **AUGMENTATION[1 if phase == "classifier only" else 2],
        )
        loop, batches = _Loop(setting, deepcopy(self.network), stages_of(phase)), endless(loader)
        run_lap(lap, lambda: loop.step(*next(batches)))


class _Loop:
    def __init__(self, setting: Setting, network: nn.Sequential, stages: tuple[str, ...]) -> None:
        self.device = setting.device
        self.network = network.to(self.device).train()
        _freeze(self.network, stages)
        self.average = ModelEmaV3(self.network, decay=0.9999, use_warmup=True)
        self.optimizer = create_optimizer_v2(self.network, "adamw", lr=1e-3, weight_decay=0.01)
        self.scheduler, _ = create_scheduler_v2(
            self.optimizer, num_epochs=80, step_on_epochs=False, updates_per_epoch=1000
        )
        self.scaler = NativeScaler(self.device) if setting.on_gpu else None
        self.criterion = SoftTargetCrossEntropy()
        self.losses, self.updates = AverageMeter(), 0

    def step(self, images: Tensor, targets: Tensor) -> None:
        """Train on a batch."""
        with torch.autocast(self.device, torch.float16, enabled=self.scaler is not None):
            loss = self.criterion(self.network(images), targets)
        if self.scaler is not None:
            self.scaler(loss, self.optimizer, clip_grad=1.0, parameters=self.network.parameters())
        else:
            loss.backward()
            dispatch_clip_grad(self.network.parameters(), 1.0)
            self.optimizer.step()
        self.optimizer.zero_grad()
        self.updates += 1
        self.average.update(self.network, step=self.updates)
        self.losses.update(loss.item(), len(images))
        self.scheduler.step_update(num_updates=self.updates, metric=self.losses.avg)


def _freeze(network: nn.Sequential, stages: tuple[str, ...]) -> None:
    """Freeze the modules of the backbone that lie wholly below ``stages``, BatchNorm's statistics with them."""
    trainable = {id(p) for stage, values in stage_parameters(network).items() if stage in stages for p in values}
    body = network[0].body
    frozen = [
        name
        for name, child in body.named_children()
        if any(True for _ in child.parameters()) and not any(id(p) in trainable for p in child.parameters())
    ]
    if frozen:
        freeze(body, frozen)
