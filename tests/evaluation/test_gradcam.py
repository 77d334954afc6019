from collections.abc import Callable
from dataclasses import fields, replace
from random import Random
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import Callback, LightningModule, Trainer
from PIL import Image, ImageChops
from torch import Tensor, nn

from emotion_lightning.data.augment import normalise
from emotion_lightning.data.faces.drawing import Pen, draw_pose
from emotion_lightning.data.faces.features import draw_mouth, draw_person
from emotion_lightning.data.faces.person import Expression, draw_expression, draw_identity
from emotion_lightning.data.faces.scene import background, photograph
from emotion_lightning.errors import UsageError
from emotion_lightning.evaluation.gradcam import gradcam, overlay
from emotion_lightning.model.module import EmotionClassifier
from tests.conftest import Lab

MOUTHS = ("happy", "sad")
MOUTH_FIELDS = [field.name for field in fields(Expression) if field.name.startswith(("mouth", "smile", "teeth"))]


def random_images(size: int = 64, count: int = 2) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(0))


class Corner(nn.Module):
    """Looks like an EmotionClassifier: its second logit sees the upper left of the image, its third the lower right."""

    def __init__(self, layout: str = "NCHW", stages: int = 1) -> None:
        super().__init__()
        self.layout = layout
        stage = nn.Identity()
        body = nn.Sequential(nn.AvgPool2d(4), stage)
        body.feature_info = [{"module": "1", "reduction": 4}]  # type: ignore[assignment]
        if layout == "NHWC":
            body.output_fmt = "NHWC"  # type: ignore[assignment]
        self.backbone = nn.Module()
        self.backbone.body = body

    def forward(self, images: Tensor) -> Tensor:
        pool, stage = self.backbone.body  # type: ignore[misc]
        values = pool(images)
        if self.layout == "NHWC":
            seen = stage(values.movedim(1, 3)).movedim(3, 1)
        elif self.layout == "tokens":
            prefix = torch.full((len(images), 2, 3), 100.0)
            seen = stage(torch.cat([prefix, values.flatten(2).transpose(1, 2)], dim=1))[:, 2:]
            seen = seen.transpose(1, 2).reshape(values.shape)
        else:
            seen = stage(values)
        first, last = seen[..., :4, :4].mean((1, 2, 3)), seen[..., -4:, -4:].mean((1, 2, 3))
        everywhere = seen.square().mean((1, 2, 3))  # raises all logits alike
        return torch.stack([0 * first, first, last], dim=1) + 10 * everywhere[:, None]


@pytest.mark.parametrize("layout", ["NCHW", "NHWC", "tokens"])
def test_the_map_points_at_what_the_class_depends_on_and_at_nothing_that_raises_all_classes(layout: str) -> None:
    heat = gradcam(Corner(layout), torch.ones(2, 3, 40, 56), torch.tensor([1, 2]))
    assert heat.shape == (2, 40, 56)
    assert heat.dtype == torch.float32
    assert (heat[0, :14, :14] == 1).all()
    assert heat[0, 18:, :].max() == heat[0, :, 18:].max() == 0
    assert (heat[1, -14:, -14:] == 1).all()
    assert heat[1, :-18, :].max() == heat[1, :, :-18].max() == 0


def test_where_nothing_speaks_for_a_class_the_map_is_zero() -> None:
    heat = gradcam(Corner(), -torch.ones(1, 3, 40, 40), torch.tensor([1]))
    assert torch.equal(heat, torch.zeros(1, 40, 40))


def reference(model: EmotionClassifier, images: Tensor, classes: Tensor) -> Tensor:
    """Grad-CAM as in the paper, at the last stage of a ResNet, of the log-odds."""
    body: Any = model.backbone.body
    features = body.forward_features(images)
    logits = model.classifier(body.forward_head(features))
    probability = logits.softmax(dim=1).gather(1, classes[:, None])[:, 0]
    gradient = torch.autograd.grad((probability / (1 - probability)).log().sum(), features)[0]
    heat = (features * gradient.mean(dim=(2, 3), keepdim=True)).sum(dim=1).relu()
    heat = F.interpolate(heat[:, None], images.shape[2:], mode="bilinear")[:, 0]
    return (heat / heat.amax(dim=(1, 2), keepdim=True).clamp(min=1e-30)).detach()


def test_at_224_pixels_it_is_the_papers_grad_cam_of_the_last_stage(lab: Lab) -> None:
    model, images, classes = lab.model().eval(), random_images(224, 3), torch.tensor([0, 1, 2])
    heat = gradcam(model, images, classes)
    assert heat.flatten(1).any(dim=1).sum() >= 2
    torch.testing.assert_close(heat, reference(model, images, classes), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    "backbone", ["test_resnet", "test_efficientnet", "test_convnext", "test_vit", "test_vit4", "test_maxvit"]
)
def test_every_family_of_backbones_has_a_map_of_its_own_for_each_class(lab: Lab, backbone: str) -> None:
    model, images = lab.model(backbone=backbone), random_images(160)
    maps = torch.stack([gradcam(model, images, torch.full((2,), label)) for label in range(3)])
    assert maps.shape == (3, 2, 160, 160)
    assert maps.min() == 0
    highest = maps.amax(dim=(2, 3))
    assert ((highest == 1) | (highest == 0)).all()
    assert (highest == 1).any(dim=0).all()  # something speaks for one class or another
    assert not torch.equal(maps[0], maps[1])


@pytest.mark.parametrize(("size", "cells"), [(224, 7), (160, 10), (96, 12), (32, 16)])
def test_the_deepest_stage_that_is_fine_enough_is_looked_at(
    size: int, cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def interpolate(maps: Tensor, *args: Any, **options: Any) -> Tensor:
        seen.append(maps.shape[2:])
        return real(maps, *args, **options)

    real = F.interpolate
    monkeypatch.setattr("emotion_lightning.evaluation.gradcam.F.interpolate", interpolate)
    gradcam(small("test_resnet"), random_images(size), torch.tensor([0, 1]))
    assert seen == [(cells, cells)]


def small(backbone: str, **options: Any) -> EmotionClassifier:
    torch.manual_seed(0)
    return EmotionClassifier(["a", "b", "c"], backbone, pretrained=False, hidden_features=16, **options)


def everything(model: nn.Module) -> dict[str, Any]:
    """All that a call could leave changed."""
    return {
        "weights": {name: value.clone() for name, value in model.state_dict().items()},
        "gradients": [None if p.grad is None else p.grad.clone() for p in model.parameters()],
        "trainable": [p.requires_grad for p in model.parameters()],
        "modes": [module.training for module in model.modules()],
        "hooks": [(len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks)) for m in model.modules()],
        "random": torch.get_rng_state(),
        "grad mode": (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu")),
    }


def assert_unchanged(model: nn.Module, before: dict[str, Any]) -> None:
    for what, value in everything(model).items():
        torch.testing.assert_close(value, before[what], atol=0, rtol=0, msg=what) if what in (
            "weights",
            "random",
        ) else None
        if what == "gradients":
            same = [(a is None) == (b is None) for a, b in zip(value, before[what], strict=True)]
            assert all(same), what
            assert all(torch.equal(a, b) for a, b in zip(value, before[what], strict=True) if a is not None), what
        elif what not in ("weights", "random"):
            assert value == before[what], what
