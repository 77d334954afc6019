from typing import Any

import pytest
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.accelerators import CPUAccelerator, MPSAccelerator, XLAAccelerator

from emotion_lightning.runtime.devices import ddp_processes


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """A machine with so many GPUs of NVIDIA, and nothing else."""
    monkeypatch.setattr(MPSAccelerator, "is_available", staticmethod(lambda: False))
    monkeypatch.setattr(XLAAccelerator, "is_available", staticmethod(lambda: False))
    for module in ("fabric", "pytorch"):
        monkeypatch.setattr(f"lightning.{module}.accelerators.cuda.num_cuda_devices", lambda: request.param)
    monkeypatch.setattr("torch.cuda.device_count", lambda: request.param)


@pytest.mark.parametrize(
    ("gpus", "accelerator", "devices", "processes"),
    [
        *((4, "cpu", devices, 1) for devices in ("auto", 1, "1")),
        *((4, "cpu", devices, 2) for devices in (2, "2")),
        *((4, kind, devices, 1) for kind in ("gpu", "cuda", "auto") for devices in (1, "1", [0], "0,", [3])),
        *((4, kind, devices, 2) for kind in ("gpu", "cuda", "auto") for devices in (2, "2", [0, 1], "0,1", "1,3")),
        *((4, kind, devices, 4) for kind in ("gpu", "cuda", "auto") for devices in ("auto", -1, "-1")),
        *((4, kind, devices, 1) for kind in ("mps", "tpu", "typo") for devices in ("auto", 2)),
        *((0, "auto", devices, 1) for devices in ("auto", 1)),
        (0, "auto", 2, 2),
        (1, "auto", "auto", 1),
        (1, "gpu", -1, 1),
        (4, CPUAccelerator(), "auto", 1),
    ],
    indirect=["gpus"],
)
@pytest.mark.usefixtures("gpus")
def test_processes_are_those_of_the_accelerator_that_was_asked_for(
    accelerator: object, devices: Any, processes: int
) -> None:
    assert ddp_processes(accelerator, devices) == processes


@pytest.mark.parametrize("gpus", [4], indirect=True)
@pytest.mark.usefixtures("gpus")
def test_several_machines_are_several_processes() -> None:
    assert ddp_processes("gpu", 1, num_nodes=2) == 2
    with pytest.raises(MisconfigurationException):
        ddp_processes("gpu", [7])


@pytest.mark.parametrize("gpus", [4], indirect=True)
@pytest.mark.usefixtures("gpus")
def test_apple_and_tpu_train_without_ddp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MPSAccelerator, "is_available", staticmethod(lambda: True))
    assert {ddp_processes(kind, "auto") for kind in ("auto", "gpu", "mps")} == {1}
    monkeypatch.setattr(XLAAccelerator, "is_available", staticmethod(lambda: True))
    assert ddp_processes("auto", 8) == 1
