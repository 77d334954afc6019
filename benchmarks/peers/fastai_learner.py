"""fastai's Learner as its documentation teaches it: item transforms on the CPU, batch transforms on the device."""

from copy import deepcopy

import torch
from fastai.vision.all import Callback as FastaiCallback
from fastai.vision.all import (
    CancelFitException,
    GradientClip,
    ImageDataLoaders,
    LabelSmoothingCrossEntropy,
    Learner,
    MixUp,
    Normalize,
    RandomErasing,
    Resize,
    ResizeMethod,
    accuracy,
    aug_transforms,
    imagenet_stats,
)
from torch import nn

from benchmarks.clock import BatchTimer
from benchmarks.peers.network import build_network, stage_parameters
from benchmarks.setting import Setting, stages_of
from emotion_lightning.schedule import STAGES


class StopAfter(FastaiCallback):
    """Ends the fit with the lap."""

    order = 1000  # behind all others

    def __init__(self, lap: BatchTimer) -> None:
        self.lap = lap

    def after_batch(self) -> None:
        """Count the step."""
        if self.training and self.lap.end_of_step():
            raise CancelFitException


class FastaiLearner:
    """The Learner, with MixUp for every batch, as fastai has no choice between MixUp and CutMix."""

    def __init__(self, setting: Setting) -> None:
        self.setting, self.network = setting, build_network(setting)

    def measure(self, phase: str, lap: BatchTimer) -> None:
        """Train by ``fit_one_cycle`` with the stages below those of the phase frozen; their BatchNorm trains."""
        learner = Learner(
            self._loaders(1 if phase == "classifier only" else 2),
            deepcopy(self.network),
            loss_func=LabelSmoothingCrossEntropy(),
            metrics=accuracy,
            splitter=_groups,
            wd=0.01,
            cbs=[MixUp(0.3), GradientClip(1.0)],
        )
        torch.backends.cudnn.benchmark = True  # what importing fastai does to the process
        if self.setting.on_gpu:
            learner.to_fp16()
        learner.freeze_to(STAGES.index(stages_of(phase)[0]))
        with learner.no_bar(), learner.no_logging():
            learner.fit_one_cycle(80, slice(1e-5, 1e-3), cbs=StopAfter(lap))

    def _loaders(self, phase: int) -> ImageDataLoaders:
        setting = self.setting
        paths, labels = setting.files()
        names = [setting.class_names[label] for label in labels]
        side = round(setting.image_size * (256 if phase == 1 else 288) / 224)
        augmentation = aug_transforms(
            size=setting.image_size,
            min_scale=0.76 if phase == 1 else 0.8,
            max_rotate=10 if phase == 1 else 15,
            max_zoom=1.1,
            max_lighting=0.2 if phase == 1 else 0.3,
            max_warp=0.0 if phase == 1 else 0.1,
        )
        erasing = [] if phase == 1 else [RandomErasing(p=0.1, sl=0.02, sh=0.1)]
        return ImageDataLoaders.from_lists(
            setting.root,
            paths,
            names,
            valid_pct=1 / len(paths),
            seed=setting.seed,
            bs=setting.batch_size,
            num_workers=setting.workers,
            device=torch.device(setting.device),
            item_tfms=Resize(side, method=ResizeMethod.Squish),
            batch_tfms=[*augmentation, Normalize.from_stats(*imagenet_stats), *erasing],
        )


def _groups(network: nn.Sequential) -> list[list[nn.Parameter]]:
    return list(stage_parameters(network).values())
