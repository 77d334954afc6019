from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn
from torch.optim import Optimizer

from benchmarks.accuracy.candidates import LayerDecay, ReestimatedBatchNorm, RestingBatchNorm, ThawWarmUp
from emotion_lightning.callbacks import EMA, RunCheckpoint, Unfreeze
from tests.helpers import Lab

SCHEDULE = {0: "classifier_only", 1: "all"}


class Rates(Callback):
    """Notes the rate of each group in each step, and whether BatchNorm of the backbone was in training mode."""

    def __init__(self) -> None:
        self.rates: list[dict[str, float]] = []
        self.modes: list[bool] = []

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        self.rates.append({group["name"]: group["lr"] for group in optimizer.param_groups})
        self.modes.append(any(m.training for m in pl_module.modules() if isinstance(m, nn.BatchNorm2d)))


def fit(lab: Lab, *candidates: Callback, folder: str = "run", **options: Any) -> Rates:
    watch = Rates()
    # the command line puts what a user adds in front
    callbacks = [*candidates, Unfreeze(SCHEDULE), EMA(0.9), RunCheckpoint(every_n_epochs=1), watch]
    lab.trainer(folder, callbacks=callbacks).fit(lab.model(), lab.data(), **options)
    return watch


def test_batch_norm_rests_in_the_epoch_after_a_thaw(lab: Lab) -> None:
    assert fit(lab, RestingBatchNorm(SCHEDULE)).modes == [False] * 12 + [True] * 6


def test_each_stage_has_a_part_of_the_rate_above_it_also_in_a_resumed_run(lab: Lab, tmp_path: Path) -> None:
    rates = fit(lab, LayerDecay(0.5)).rates
    for step in rates:
        assert step["stem"] == pytest.approx(step["layer1"] / 2) == pytest.approx(step["layer4"] / 16)
    checkpoint = tmp_path / "run" / "checkpoints" / "epoch_000.ckpt"
    resumed = fit(lab, LayerDecay(0.5), folder="resumed", ckpt_path=checkpoint).rates
    assert resumed == [pytest.approx(step) for step in rates[6:]]


def test_the_rate_of_the_backbone_rises_after_a_thaw(lab: Lab) -> None:
    plain, warm = fit(lab).rates, fit(lab, ThawWarmUp(SCHEDULE, 4), folder="warm").rates
    shares = [warm[step]["layer1"] / plain[step]["layer1"] for step in range(18)]
    assert shares == pytest.approx([1] * 6 + [0.25, 0.5, 0.75] + [1] * 9)
    assert [step["classifier"] for step in warm] == [step["classifier"] for step in plain]


def test_statistics_of_the_average_are_taken_anew(lab: Lab, tmp_path: Path) -> None:
    fit(lab, ReestimatedBatchNorm(after=1))
    saved = torch.load(tmp_path / "run" / "checkpoints" / "epoch_001.ckpt", weights_only=True)
    name = "backbone.body.conv1.1.running_mean"  # the first of all, before which nothing is normalized
    model = lab.model()
    model.load_state_dict(saved["state_dict"])
    maps: list[torch.Tensor] = []
    model.backbone.body.conv1[0].register_forward_hook(lambda module, given, found: maps.append(found))
    model.backbone.eval()
    with torch.no_grad():
        for images, *_ in lab.data().train_dataloader():
            pixels = nn.functional.interpolate(images.float() / 255, size=32, mode="bilinear")
            mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
            model((pixels - mean[:, None, None]) / deviation[:, None, None])
    expected = torch.cat(maps).mean(dim=(0, 2, 3))
    torch.testing.assert_close(saved["state_dict"][name], expected, rtol=1e-3, atol=1e-4)
    with pytest.raises(AssertionError):
        torch.testing.assert_close(saved["raw_state_dict"][name], expected, rtol=1e-3, atol=1e-4)
