import logging

import pytest
import timm
import torch
from torch import nn

from emotion_lightning.runtime import precision
from emotion_lightning.runtime.precision import VARIABLE, allow_tf32, resolve_precision, step_seconds
from tests.helpers import Lab


@pytest.fixture(autouse=True)
def a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "")
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    monkeypatch.setattr(precision, "_has_accelerator", lambda: False)


def measured(monkeypatch: pytest.MonkeyPatch, fp32: float, bf16: float, able: bool = True) -> None:
    monkeypatch.setattr(precision, "_has_bf16_instructions", lambda: able)
    monkeypatch.setattr(precision, "step_seconds", lambda model: (fp32, bf16))


@pytest.mark.parametrize(
    ("fp32", "bf16", "able", "chosen"),
    [
        (0.30, 0.10, True, "bf16-mixed"),
        (0.30, 0.26, True, "32-true"),  # faster, but not so that it is the same at every start
        (0.10, 0.30, True, "32-true"),
        (0.30, 0.10, False, "32-true"),
    ],
)
def test_bf16_is_taken_where_it_is_clearly_faster(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fp32: float, bf16: float, able: bool, chosen: str
) -> None:
    measured(monkeypatch, fp32, bf16, able)
    with caplog.at_level(logging.INFO):
        assert resolve_precision("16-mixed", "auto", nn.Identity()) == chosen
    assert f"Precision: {chosen} in place of 16-mixed" in caplog.text
    assert ("300 ms in fp32" in caplog.text) == (able and fp32 == 0.3)


@pytest.mark.parametrize("given", ["32-true", "bf16-mixed", "64-true", None, 16])
def test_what_was_asked_for_stays(monkeypatch: pytest.MonkeyPatch, given: str | int | None) -> None:
    measured(monkeypatch, 0.3, 0.1)
    assert resolve_precision(given, "cpu", nn.Identity()) == given


def test_a_gpu_keeps_its_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    measured(monkeypatch, 0.3, 0.1)
    assert resolve_precision("16-mixed", "gpu", nn.Identity()) == "16-mixed"
    monkeypatch.setattr(precision, "_has_accelerator", lambda: True)
    assert resolve_precision("16-mixed", "auto", nn.Identity()) == "16-mixed"
    assert resolve_precision("16-mixed", "cpu", nn.Identity()) == "bf16-mixed"


def test_a_resumed_run_goes_on_as_it_was_whatever_is_measured_now(monkeypatch: pytest.MonkeyPatch) -> None:
    measured(monkeypatch, 0.3, 0.1)
    assert resolve_precision("16-mixed", "cpu", nn.Identity(), "32-true") == "32-true"
    assert resolve_precision("16-mixed", "cpu", nn.Identity(), "16-mixed") == "bf16-mixed"  # it was on a GPU
    measured(monkeypatch, 0.1, 0.3)
    assert resolve_precision("16-mixed", "cpu", nn.Identity(), "bf16-mixed") == "bf16-mixed"
    measured(monkeypatch, 0.1, 0.3, able=False)
    assert resolve_precision("16-mixed", "cpu", nn.Identity(), "bf16-mixed") == "32-true"


def test_the_processes_of_a_run_choose_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    measured(monkeypatch, 0.3, 0.1)
    resolve_precision("16-mixed", "cpu", nn.Identity())
    measured(monkeypatch, 0.1, 0.3)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert resolve_precision("16-mixed", "cpu", nn.Identity()) == "bf16-mixed"
    monkeypatch.delenv("LOCAL_RANK")
    assert resolve_precision("16-mixed", "cpu", nn.Identity()) == "32-true"


def test_the_measurement_leaves_the_model_and_all_randomness_as_they_were(lab: Lab) -> None:
    model = lab.model()
    model.set_trainable(["classifier"])
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [(p.requires_grad, p.grad) for p in model.parameters()], [m.training for m in model.modules()]
    state = torch.get_rng_state()
    fp32, bf16 = step_seconds(model)
    assert 0 < fp32 < 1
    assert 0 < bf16 < 1
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    after = [(p.requires_grad, p.grad) for p in model.parameters()], [m.training for m in model.modules()]
    assert after == modes


def test_it_measures_training_in_either_precision() -> None:
    seen = []

    class Spy(nn.Linear):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            seen.append((self.training, torch.is_autocast_enabled("cpu"), torch.is_grad_enabled()))
            return super().forward(images.mean((2, 3)))

    step_seconds(Spy(3, 2).eval())
    assert set(seen) == {(True, False, True), (True, True, True)}
    assert len(seen) >= 4


@pytest.mark.parametrize("name", ["test_vit", "test_efficientnet"])
def test_other_networks_can_be_measured(lab: Lab, name: str) -> None:
    assert timm.is_model(name)
    assert min(step_seconds(lab.model(backbone=name))) > 0


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


def test_a_network_that_cannot_be_measured_computes_in_fp32(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Rigid(nn.Linear):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            assert images.shape[-1] == 224
            return super().forward(images)

    monkeypatch.setattr(precision, "_has_bf16_instructions", lambda: True)
    threads = torch.get_num_threads()
    with caplog.at_level(logging.INFO):
        assert resolve_precision("16-mixed", "cpu", Rigid(2, 2)) == "32-true"
    assert "takes no images of 64 px" in caplog.text
    assert torch.get_num_threads() == threads
