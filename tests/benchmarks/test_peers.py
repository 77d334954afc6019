from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmarks.clock import BatchTimer
from benchmarks.peers import ceiling, notebook, ours, timm_script
from benchmarks.peers.network import build_network, stage_parameters
from benchmarks.setting import PHASES, Setting, stages_of
from emotion_lightning.callbacks import ProgressBar, default_callbacks
from emotion_lightning.cli.app import EmotionCLI

Build = Callable[[Setting, nn.Sequential, str], Any]
LOOPS: dict[str, Build] = {
    "notebook": lambda setting, network, phase: notebook._Loop(setting, network, phase),
    "ceiling": lambda setting, network, phase: ceiling._Loop(setting, network, torch.float32, stages_of(phase)),
    "timm": lambda setting, network, phase: timm_script._Loop(setting, network, stages_of(phase)),
}


def batch(setting: Setting, name: str) -> tuple[Tensor, ...]:
    if name == "ceiling":
        return ()
    classes = len(setting.class_names)
    targets = torch.rand(8, classes) if name == "timm" else torch.arange(8) % classes
    return torch.randn(8, 3, 32, 32), targets


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("name", LOOPS)
def test_everybody_trains_what_the_phase_says(setting: Setting, name: str, phase: str) -> None:
    network = build_network(setting)
    stage_of = {id(p): stage for stage, parameters in stage_parameters(network).items() for p in parameters}
    before = {name: (stage_of[id(p)], p.detach().clone()) for name, p in network.named_parameters()}
    loop = LOOPS[name](setting, network, phase)
    for _ in range(3):
        loop.step(*batch(setting, name))
    after = loop.network.state_dict()  # timm makes buffers of a frozen BatchNorm's parameters
    moved = {stage for key, (stage, value) in before.items() if not torch.equal(value, after[key])}
    assert moved == set(stages_of(phase))


def test_the_notebook_lets_frozen_statistics_drift_and_the_ceiling_does_not(setting: Setting) -> None:
    for name, drifts in (("notebook", True), ("ceiling", False)):
        network = build_network(setting)
        before = deepcopy(dict(network[0].named_buffers()))
        loop = LOOPS[name](setting, network, "classifier only")
        loop.step(*batch(setting, name))
        after = dict(loop.network[0].named_buffers())
        assert any(not torch.equal(after[key], value) for key, value in before.items()) == drifts


def test_cutmix_and_mixup_keep_what_their_weight_says() -> None:
    images, labels = torch.arange(8.0).view(8, 1, 1, 1).expand(8, 3, 16, 16), torch.arange(8)
    for _ in range(50):
        mixed, partners, weight = notebook._mix(images, labels)
        expected = weight * labels + (1 - weight) * partners
        torch.testing.assert_close(mixed.mean(dim=(1, 2, 3)), expected.float(), atol=1e-4, rtol=1e-4)


def test_ours_takes_along_what_fit_does(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[Any] = []
    monkeypatch.setattr(EmotionCLI, "fit", lambda cli, **options: found.append(cli.trainer))
    monkeypatch.setattr(EmotionCLI, "after_fit", lambda cli: None)
    options = ("--data.root", str(setting.root), "--model.backbone", "test_resnet", "--model.pretrained", "false")
    EmotionCLI(["fit", *options, "--trainer.accelerator", "cpu"])
    usual = {type(callback).__name__ for callback in found[0].callbacks} - {"SaveRunConfig"}
    lightnings = {"TQDMProgressBar", "RichProgressBar", "GradientAccumulationScheduler"}
    assert {type(callback).__name__ for callback in [*default_callbacks(), ProgressBar()]} == usual - lightnings


@pytest.mark.parametrize("phase", ["classifier only", "all"])
def test_ours_is_left_after_its_steps(setting: Setting, phase: str) -> None:
    peer = ours.Ours(setting)
    before = deepcopy(peer.model.state_dict())
    lap = BatchTimer(1, 2)
    peer.measure(phase, lap)
    assert lap.seconds > 0
    assert all(torch.equal(value, before[name]) for name, value in peer.model.state_dict().items())
