"""A timm model as the recipe's ordered, named stages."""

from collections.abc import Iterable
from itertools import takewhile
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from emotion_lightning.batch import Normalization
from emotion_lightning.errors import UsageError
from emotion_lightning.model.body import build_body
from emotion_lightning.model.frozen import FoldedBackbone
from emotion_lightning.model.matching import fill
from emotion_lightning.model.stages import BACKBONE_STAGES, stage_of_parameters
from emotion_lightning.model.weights import load_weights

BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d | nn.SyncBatchNorm
"""Every BatchNorm of a backbone; timm's own inherit from these."""

BatchNormMode = Literal["auto", "train", "frozen"]

FROZEN_UP_TO = 1e-4
"""Largest rate of a pretrained backbone at which ``batch_norm="auto"`` is frozen; benchmarks/ACCURACY.md has why."""


class Backbone(nn.Module):
    """Any timm image model, ``(B, 3, H, W)`` float to pooled features ``(B, num_features)``.

    Its blocks are merged to the stages of a ResNet, ``stem`` and ``layer1`` to ``layer4``, in the order of the forward
    pass: the stages of a ResNet or ConvNeXt as they are, the blocks of an EfficientNet or ViT in four equal parts.

    Args:
        name: timm's name of the model.
        weights: File of pretrained weights, or ``None`` for random ones.
        batch_norm: Whether the BatchNorm of a stage that trains normalizes each batch by itself and follows it with
            its statistics ("train"), or normalizes with the statistics it has and keeps them ("frozen"). Its weight
            and bias train either way.
        image_size: Side of the images in pixels, for networks that are built for one size; ``None`` for the one that
            timm builds them for.

    Raises:
        UsageError: timm does not know the model or cannot build it for this size; in a forward pass, the images have
            another size than it was built for.
        DataError: The file does not hold this model's weights.
    """

    def __init__(
        self,
        name: str,
        weights: Path | None = None,
        batch_norm: Literal["train", "frozen"] = "train",
        image_size: int | None = None,
    ):
        super().__init__()
        self.batch_norm = batch_norm
        self.body, self.only_size = build_body(name, image_size)
        if weights is not None:
            fill(self.body, load_weights(weights), weights)
        # a MobileNetV3 widens its features after pooling, and calls the width that it then has by another name
        self.num_features = int(getattr(self.body, "head_hidden_size", self.body.num_features))  # type: ignore[arg-type]
        config: Any = self.body.pretrained_cfg
        self.normalization = Normalization(tuple(config["mean"]), tuple(config["std"]))  # of timm's weights
        self.stage_of = stage_of_parameters(self.body)
        self.folded: FoldedBackbone | None = None  # until a stage is frozen

    def forward(self, images: Tensor) -> Tensor:
        """Pool ``images`` ``(B, 3, H, W)`` to features ``(B, num_features)``.

        In training mode, a ResNet's frozen first stages are computed by ``FoldedBackbone``; evaluation is all timm's.
        """
        side = images.shape[-1]
        if self.only_size not in (None, side):
            raise UsageError(
                f"`image_size` {side}: the network was built for images of {self.only_size} pixels and takes no "
                "others. From Python, give the model the data's image_size as input_size"
            )
        if self.training and self.folded is not None and self.folded.can_run(images):
            return self.folded(images)
        features: Tensor = self.body(images)
        return features

    def stage_parameters(self) -> dict[str, list[nn.Parameter]]:
        """Parameters of each stage, from input to output; every parameter stands in exactly one."""
        stages: dict[str, list[nn.Parameter]] = {stage: [] for stage in BACKBONE_STAGES}
        for name, parameter in self.body.named_parameters():
            stages[self.stage_of[name]].append(parameter)
        return stages

    def set_trainable(self, stages: Iterable[str]) -> None:
        """Let exactly ``stages`` train; all others keep their weights and BatchNorm statistics.

        A frozen stage is wholly in evaluation mode: its BatchNorm normalizes with the statistics it has, and its
        dropout and stochastic depth are off.
        """
        trainable = set(stages)
        for name, parameter in self.body.named_parameters():
            parameter.requires_grad_(self.stage_of[name] in trainable)
        _set_mode(self.body, trains=any(p.requires_grad for p in self.body.parameters()))
        if self.batch_norm == "frozen":
            for module in self.body.modules():
                if isinstance(module, BatchNorm):
                    module.eval()
        self.training = True  # also where all is frozen: it is told apart from evaluation
        frozen = list(takewhile(lambda stage: stage not in trainable, BACKBONE_STAGES))
        self.folded = FoldedBackbone.of(self.body, frozen)


def resolve_batch_norm(choice: BatchNormMode, pretrained: bool, lr_backbone: float) -> Literal["train", "frozen"]:
    """Choose what ``auto`` stands for: statistics are worth keeping if weights have them, and move little from them."""
    if choice == "auto":
        return "frozen" if pretrained and lr_backbone <= FROZEN_UP_TO else "train"
    return choice


def _set_mode(module: nn.Module, trains: bool) -> None:
    """Set train or eval mode by the parameters beneath; a module without any follows the one around it."""
    parameters = list(module.parameters())
    if parameters:
        trains = any(parameter.requires_grad for parameter in parameters)
    module.training = trains
    for child in module.children():
        _set_mode(child, trains)
