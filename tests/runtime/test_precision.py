import logging

import pytest
import torch
from torch import nn

from emotion_lightning.runtime.precision import allow_tf32, resolve_precision
from tests.helpers import Lab

PLAIN = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, groups=2))
DEPTHWISE = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Sequential(nn.Conv2d(8, 8, 3, groups=8)))


@pytest.fixture(autouse=True)
def a_machine_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)


def with_instructions(monkeypatch: pytest.MonkeyPatch, **capabilities: bool) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)


@pytest.mark.parametrize(
    ("model", "capabilities", "chosen"),
    [
        (PLAIN, {"avx512_bf16": True}, "bf16-mixed"),
        (PLAIN, {"sve_bf16": True}, "bf16-mixed"),
        (PLAIN, {"avx512_bf16": False, "avx2": True}, "32-true"),
        (DEPTHWISE, {"avx512_bf16": True}, "32-true"),
    ],
)
def test_the_instructions_and_the_network_decide(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    model: nn.Module,
    capabilities: dict[str, bool],
    chosen: str,
) -> None:
    with_instructions(monkeypatch, **capabilities)
    with caplog.at_level(logging.INFO):
        assert resolve_precision("16-mixed", "auto", model) == chosen
    assert f"Precision: {chosen} in place of 16-mixed, as " in caplog.text


@pytest.mark.parametrize(("name", "chosen"), [("test_resnet", "bf16-mixed"), ("test_efficientnet", "32-true")])
def test_families_of_networks(monkeypatch: pytest.MonkeyPatch, lab: Lab, name: str, chosen: str) -> None:
    with_instructions(monkeypatch, amx_bf16=True)
    assert resolve_precision("16-mixed", "cpu", lab.model(backbone=name)) == chosen


def test_a_torch_that_does_not_tell_its_instructions_means_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert resolve_precision("16-mixed", "cpu", PLAIN) == "32-true"


@pytest.mark.parametrize("given", ["32-true", "bf16-mixed", "64-true", None, 16])
def test_what_was_asked_for_stays(given: str | int | None) -> None:
    assert resolve_precision(given, "cpu", PLAIN) == given


def test_a_gpu_keeps_its_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    with_instructions(monkeypatch, avx512_bf16=True)
    assert resolve_precision("16-mixed", "gpu", PLAIN) == "16-mixed"
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    assert resolve_precision("16-mixed", "auto", PLAIN) == "16-mixed"
    assert resolve_precision("16-mixed", "cpu", PLAIN) == "bf16-mixed"


def test_tf32_is_for_runs_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_float32_matmul_precision()
    found = {}
    try:
        for accelerator, available in (("cpu", True), ("auto", False), ("auto", True), ("gpu", True)):
            torch.set_float32_matmul_precision("highest")
            with monkeypatch.context() as patch:
                patch.setattr(torch.cuda, "is_available", lambda available=available: available)
                allow_tf32(accelerator)
            found[accelerator, available] = torch.get_float32_matmul_precision()
    finally:
        torch.set_float32_matmul_precision(before)
    assert list(found.values()) == ["highest", "highest", "high", "high"]
