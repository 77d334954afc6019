import copy
import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from random import Random
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import Callback, LightningModule, Trainer
from PIL import Image, ImageChops
from torch import Tensor, nn

from emotion_lightning.batch import normalize
from emotion_lightning.callbacks import EMA, Unfreeze
from emotion_lightning.data.augment import LUMA
from emotion_lightning.data.drawn.drawing import Pen, draw_pose
from emotion_lightning.data.drawn.features import draw_mouth, draw_person
from emotion_lightning.data.drawn.person import Expression, draw_expression, draw_identity
from emotion_lightning.data.drawn.scene import background, photograph
from emotion_lightning.errors import UsageError
from emotion_lightning.evaluation.gradcam import gradcam, overlay
from emotion_lightning.model.module import EmotionClassifier
from emotion_lightning.seeding import derive_seed
from tests.helpers import SCHEDULE, Lab

MOUTHS = ("happy", "sad")
MOUTH = ("mouth_width", "mouth_open", "smile", "teeth")

Box = tuple[int, int, int, int]
"""Left, top, right and bottom in pixels."""


def random_images(size: int = 64, count: int = 2) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(0))


class Corner(nn.Module):
    """Its second logit sees the upper left of the image, its third the lower right, and all of them everything."""

    def __init__(self, layout: str = "NCHW", shared: float = 10.0) -> None:
        super().__init__()
        self.layout, self.shared = layout, shared
        body = nn.Sequential(nn.AvgPool2d(4), nn.Identity())
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
        everything = seen.square().mean((1, 2, 3))
        return torch.stack([0 * first, first, last], dim=1) + self.shared * everything[:, None]


@pytest.mark.parametrize("layout", ["NCHW", "NHWC", "tokens"])
def test_the_map_points_at_what_the_class_depends_on_and_at_nothing_that_raises_all_classes(layout: str) -> None:
    heat = gradcam(Corner(layout), torch.ones(2, 3, 40, 56), torch.tensor([1, 2]))
    assert heat.shape == (2, 40, 56)
    assert heat.dtype == torch.float32
    assert (heat[0, :14, :14] == 1).all()
    assert max(heat[0, 18:, :].max(), heat[0, :, 18:].max()) < 1e-5
    assert (heat[1, -14:, -14:] == 1).all()
    assert max(heat[1, :-18, :].max(), heat[1, :, :-18].max()) < 1e-5


def test_where_nothing_speaks_for_a_class_the_map_is_zero() -> None:
    heat = gradcam(Corner(shared=0), torch.ones(1, 3, 40, 40), torch.tensor([0]))
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
    model, images = lab.model().eval(), random_images(224, 3)
    classes = model(images).argmax(dim=1)
    heat = gradcam(model, images, classes)
    assert heat.flatten(1).any(dim=1).all()
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
    assert not torch.equal(maps[0], maps[2])


@pytest.mark.parametrize("size", [64, 160])
@pytest.mark.parametrize(
    "backbone", ["test_resnet", "test_efficientnet", "test_convnext", "test_vit", "test_vit4", "test_nfnet"]
)
def test_the_map_is_no_rounding_error(lab: Lab, backbone: str, size: int) -> None:
    model, images = lab.model(backbone=backbone).eval(), random_images(size)
    classes = model(images).argmax(dim=1)
    heat = gradcam(model, images, classes)
    torch.testing.assert_close(gradcam(model.double(), images.double(), classes), heat, atol=0.01, rtol=0)


@pytest.mark.parametrize(("size", "cells"), [(224, 7), (160, 10), (96, 12), (32, 8)])
def test_it_looks_at_the_deepest_stage_that_is_fine_enough(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, size: int, cells: int
) -> None:
    shapes = []

    def interpolate(maps: Tensor, *args: Any, **options: Any) -> Tensor:
        shapes.append(tuple(maps.shape[2:]))
        return upsample(maps, *args, **options)

    upsample = F.interpolate
    monkeypatch.setattr(F, "interpolate", interpolate)
    gradcam(lab.model(), random_images(size), torch.tensor([0, 1]))
    assert shapes == [(cells, cells)]


def test_a_vision_transformer_too_coarse_is_seen_through_the_last_block_whose_patches_count(lab: Lab) -> None:
    model = lab.model(backbone="test_vit").eval().double()
    images, classes = random_images(64).double(), torch.tensor([0, 2])
    tokens: list[Tensor] = []
    blocks: Any = model.backbone.body.blocks
    with blocks[-1].norm1.register_forward_hook(lambda module, inputs, output: tokens.append(output)):
        probability = model(images).softmax(dim=1).gather(1, classes[:, None])
    gradient = torch.autograd.grad((probability / (1 - probability)).log().sum(), tokens[0])[0]
    patches = (
        (tokens[0] * gradient).sum(dim=2)[:, 1:].reshape(2, 1, 4, 4).detach().float()
    )  # the class token comes first
    heat = F.interpolate(patches.relu(), size=(64, 64), mode="bilinear")[:, 0]
    torch.testing.assert_close(gradcam(model, images, classes), heat / heat.amax(dim=(1, 2), keepdim=True))


def test_a_backbone_without_stages_is_an_error_that_says_so() -> None:
    model = Corner()
    model.backbone.body.feature_info = []  # type: ignore[union-attr, assignment]
    with pytest.raises(UsageError, match=r"no stage.*another `backbone`"):
        gradcam(model, torch.ones(1, 3, 40, 40), torch.tensor([1]))


def half_trained(lab: Lab) -> EmotionClassifier:
    """A model between two steps: some stages frozen, gradients left over, modes mixed."""
    model = lab.model()
    model.train().set_trainable(["layer4", "classifier"])
    F.cross_entropy(model(random_images(32)), torch.tensor([0, 1])).backward()
    return model


def state(model: nn.Module) -> dict[str, Any]:
    """All that a call could leave changed."""
    modules, parameters = list(model.modules()), list(model.parameters())
    return {
        "weights": [value.numpy().tobytes() for value in model.state_dict().values()],
        "gradients": [None if p.grad is None else p.grad.numpy().tobytes() for p in parameters],
        "trainable": [p.requires_grad for p in parameters],
        "modes": [module.training for module in modules],
        "hooks": [len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) for m in modules],
        "random": torch.get_rng_state().tolist(),
        "contexts": (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu")),
    }


CONTEXTS: list[Callable[[], AbstractContextManager[Any]]] = [
    nullcontext,
    torch.no_grad,
    torch.inference_mode,
    lambda: torch.autocast("cpu", dtype=torch.bfloat16),
]


@pytest.mark.parametrize("context", CONTEXTS, ids=["plain", "no_grad", "inference_mode", "autocast"])
def test_it_computes_the_same_anywhere_and_changes_nothing(
    lab: Lab, context: Callable[[], AbstractContextManager[Any]]
) -> None:
    model = half_trained(lab)
    expected = gradcam(copy.deepcopy(model).eval().requires_grad_(True), random_images(), torch.tensor([0, 1]))
    with context():
        images, classes = random_images(), torch.tensor([0, 1])
        before = state(model)
        heat = gradcam(model, images, classes)
        assert state(model) == before
    assert torch.equal(heat, expected)
    assert torch.equal(images, random_images())
    assert not heat.requires_grad
    assert not images.requires_grad


def test_a_model_frozen_throughout_has_the_same_map(lab: Lab) -> None:
    model, images, classes = lab.model(), random_images(), torch.tensor([0, 1])
    expected = gradcam(model, images, classes)
    assert expected.any()
    assert torch.equal(gradcam(model.requires_grad_(False), images, classes), expected)


def test_an_error_leaves_the_model_as_it_was(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    model = half_trained(lab)
    before = state(model)
    with pytest.raises(RuntimeError, match="index 7 is out of bounds"):
        gradcam(model, random_images(), torch.tensor([0, 7]))
    monkeypatch.setattr(model.classifier, "forward", Mock(side_effect=RuntimeError("out of memory")))
    with pytest.raises(RuntimeError, match="out of memory"):
        gradcam(model, random_images(), torch.tensor([0, 1]))
    assert state(model) == before


def test_a_model_in_half_precision_gives_nearly_the_same_map_in_float32(lab: Lab) -> None:
    model, images, classes = lab.model(), random_images(), torch.tensor([0, 1])
    expected = gradcam(model, images, classes)
    heat = gradcam(model.bfloat16(), images, classes)
    assert heat.dtype == torch.float32
    torch.testing.assert_close(heat, expected, atol=0.1, rtol=0)


class Explain(Callback):
    """Explains every validation batch."""

    def __init__(self) -> None:
        self.maps: list[Tensor] = []

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self.maps.append(gradcam(pl_module, batch[0], batch[1]))


def test_a_run_that_explains_its_validation_ends_with_the_same_weights(lab: Lab) -> None:
    def weights(*callbacks: Callback) -> dict[str, Tensor]:
        model = lab.model()
        lab.trainer(max_epochs=2, callbacks=[Unfreeze(SCHEDULE), EMA(0.9), *callbacks]).fit(model, lab.data())
        return model.state_dict()

    explain = Explain()
    gradcam_overlay, plain = weights(explain), weights()
    assert torch.cat(explain.maps).any()
    assert all(torch.equal(value, plain[name]) for name, value in gradcam_overlay.items())


def test_an_overlay_leaves_cold_areas_and_grows_brighter_with_the_heat() -> None:
    picture = torch.randint(0, 256, (3, 8, 11), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    heat = torch.zeros(8, 11)
    assert torch.equal(overlay(picture, heat), picture)
    heat[2, 5] = 1
    laid = overlay(picture, heat)
    assert laid.dtype == torch.uint8
    changed = (laid != picture).any(dim=0)
    assert changed[2, 5]
    assert changed.sum() == 1
    black, rising = torch.zeros(3, 1, 11, dtype=torch.uint8), torch.linspace(0, 1, 11)[None]
    lightness = overlay(black, rising).float().movedim(0, 2) @ torch.tensor(LUMA)
    assert (lightness.diff(dim=1) > 0).all()


def draw_pair(seed: int, index: int, size: int) -> list[tuple[np.ndarray, Box]]:
    """Two pictures of one person, same but for the mouth, and where on them the mouth is."""
    mouths = [draw_expression(Random(derive_seed(seed, "mouth", index)), emotion) for emotion in MOUTHS]
    return [_draw(Random(derive_seed(seed, "pair", index)), mouth, size) for mouth in mouths]


def _draw(rng: Random, mouth: Expression, size: int) -> tuple[np.ndarray, Box]:
    image, mask = background(rng, 2 * size), Image.new("RGB", (2 * size, 2 * size))
    pose, who = draw_pose(rng, 2 * size), draw_identity(rng)
    mood = replace(draw_expression(rng, "neutral"), **{name: getattr(mouth, name) for name in MOUTH})
    draw_person(Pen(image, pose), rng, who, mood)
    draw_mouth(Pen(mask, pose), who, mood)
    left, top, right, bottom = mask.getbbox() or (0, 0, 0, 0)
    face = np.asarray(photograph(rng, image.reduce(2)))
    return face, (left // 2, top // 2, math.ceil(right / 2), math.ceil(bottom / 2))


def draw_pairs(seed: int, pairs: int, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Normalized images ``(B, 3, H, W)``, labels ``(B,)`` and whether a pixel lies in the mouth's box ``(B, H, W)``."""
    drawn = [each for index in range(pairs) for each in draw_pair(seed, index, size)]
    pixels = torch.from_numpy(np.stack([face for face, _ in drawn])).movedim(3, 1)
    inside = torch.zeros(len(drawn), size, size, dtype=torch.bool)
    for mask, (_, (left, top, right, bottom)) in zip(inside, drawn, strict=True):
        mask[top:bottom, left:right] = True
    return normalize(pixels / 255), torch.tensor([0, 1] * pairs), inside


def train(seed: int, images: Tensor, labels: Tensor, epochs: int = 8, batch_size: int = 32) -> EmotionClassifier:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = EmotionClassifier(list(MOUTHS), "test_resnet", pretrained=False, hidden_features=64)
        optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.05)
        steps = epochs * (len(images) // batch_size)
        scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=2e-3, total_steps=steps)
        for step in range(steps):
            if step % (steps // epochs) == 0:
                order = torch.randperm(len(images))
            batch = order[step % (steps // epochs) * batch_size :][:batch_size]
            logits = model(images[batch].flip(3) if step % 2 else images[batch])
            optimizer.zero_grad()
            F.cross_entropy(logits, labels[batch], label_smoothing=0.1).backward()
            optimizer.step()
            scheduler.step()
    return model.eval()


def test_pairs_of_faces_differ_at_the_mouth_alone() -> None:
    for index in range(20):
        (happy, (left, top, right, bottom)), (sad, other) = draw_pair(0, index, 96)
        difference = ImageChops.difference(Image.fromarray(happy), Image.fromarray(sad)).getbbox()
        assert difference is not None
        both = (min(left, other[0]), min(top, other[1]), max(right, other[2]), max(bottom, other[3]))
        reach = 4  # the camera may blur
        assert all(a >= b - reach for a, b in zip(difference[:2], both[:2], strict=True))
        assert all(a <= b + reach for a, b in zip(difference[2:], both[2:], strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2])  # of 0, 1 and 2, each of which takes two minutes, the one with the least ratio
def test_heat_lies_on_the_mouth_where_only_the_mouth_tells(seed: int) -> None:
    images, labels, _ = draw_pairs(2 * seed, pairs=1500, size=96)
    model = train(seed, images, labels)
    images, labels, inside = draw_pairs(2 * seed + 1, pairs=100, size=96)
    with torch.inference_mode():
        predicted = model(images).argmax(dim=1)
    accuracy = (predicted == labels).float().mean().item()
    heat = gradcam(model, images, predicted)
    within, without = (
        torch.stack([h[m].mean() for h, m in zip(heat, mask, strict=True)]) for mask in (inside, ~inside)
    )
    ratio = (within.mean() / without.mean()).item()
    print(
        f"seed {seed}: accuracy {accuracy:.3f}, heat {within.mean():.3f} in the mouth's box and "
        f"{without.mean():.3f} outside, ratio {ratio:.2f}"
    )
    assert accuracy > 0.95
    assert ratio >= 2.9  # seed 2 comes to 2.99 where other kernels train it; heat that tells nothing has 1
