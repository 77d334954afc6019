"""The network that all train, and the pictures that all read."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset

from benchmarks.setting import Setting
from emotion_lightning.model.backbone import Backbone
from emotion_lightning.model.head import EnhancedClassifier


def build_network(setting: Setting) -> nn.Sequential:
    """Backbone and classifier on the CPU, ``(B, 3, H, W)`` float to logits ``(B, classes)``, in PyTorch's layout."""
    torch.manual_seed(setting.seed)
    backbone = Backbone(setting.backbone)
    return nn.Sequential(backbone, EnhancedClassifier(backbone.num_features, len(setting.class_names)))


def stage_parameters(network: nn.Sequential) -> dict[str, list[nn.Parameter]]:
    """Parameters of each stage from input to output."""
    backbone, classifier = network
    assert isinstance(backbone, Backbone)
    return {**backbone.stage_parameters(), "classifier": list(classifier.parameters())}


def require_gradients(network: nn.Sequential, stages: Iterable[str]) -> None:
    """Let exactly ``stages`` have gradients; modes stay as they are, so that frozen BatchNorm goes on counting."""
    stages = set(stages)
    for stage, parameters in stage_parameters(network).items():
        for parameter in parameters:
            parameter.requires_grad_(stage in stages)


class Pictures(Dataset[tuple[Any, int]]):
    """Image files with labels, decoded anew whenever they are asked for."""

    def __init__(
        self, paths: Sequence[Path], labels: Sequence[int], transform: Callable[[Image.Image], Any] | None = None
    ) -> None:
        self.paths, self.labels, self.transform = paths, labels, transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        """Return the image as its transform leaves it, and its label."""
        image = Image.open(self.paths[index]).convert("RGB")
        return (image if self.transform is None else self.transform(image)), self.labels[index]


def endless(loader: DataLoader[Any]) -> Iterator[Any]:
    """Batches of one epoch after another."""
    while True:
        yield from loader
