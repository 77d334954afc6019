from types import SimpleNamespace
from typing import Any

import pytest
import torch
from emotion_lightning.callbacks.memory import (
    SHARE,
    evaluate,
    evaluation_capacity,
    images_that_fit,
    train,
    training_capacity,
)

from emotion_lightning.callbacks import memory
from tests.helpers import Lab


def test_every_image_takes_as_much_as_any_other() -> None:
    def peak(count: int) -> int:
        return 700 + 30 * count

    assert images_that_fit(peak, round((700 + 30 * 250) / SHARE) + 1) == 250
    assert images_that_fit(peak, round((700 + 30 * 5) / SHARE) + 1) == 5
    assert images_that_fit(peak, 700) == 0


def test_a_peak_that_does_not_grow_sets_no_bound() -> None:
    assert images_that_fit(lambda count: 700, 10**9) > 10**6


@pytest.mark.parametrize(("most", "expected"), [(16, 9), (8, 9), (4, 9), (3, 0), (1, 0)])
def test_smaller_batches_are_tried_where_memory_runs_out(most: int, expected: int) -> None:
    def peak(count: int) -> int:
        if count > most:
            raise torch.OutOfMemoryError
        return 100 * count

    assert images_that_fit(peak, round(950 / SHARE)) == expected


@pytest.mark.parametrize("work", [train, evaluate])
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "bf16-true"])
def test_a_trial_leaves_model_and_generator_as_they_were(lab: Lab, work: Any, precision: str) -> None:
    model, trainer = lab.model(), lab.trainer(precision=precision)
    model.set_trainable(("classifier", "layer4"))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    trains = [parameter.requires_grad for parameter in model.parameters()]
    state = torch.random.get_rng_state()
    work(model, trainer, 4, 32, torch.device("cpu"))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [module.training for module in model.modules()] == modes
    assert [parameter.requires_grad for parameter in model.parameters()] == trains
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.random.get_rng_state(), state)


def test_without_a_gpu_no_memory_limits_a_batch(lab: Lab) -> None:
    trainer = lab.trainer()
    trainer.strategy.connect(lab.model())
    assert training_capacity(trainer, 32) is None
    assert evaluation_capacity(trainer, 32) is None


def test_evaluation_leaves_room_for_what_training_holds(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    model = lab.model()
    weights = sum(parameter.numel() * 4 for parameter in model.parameters())
    strategy = SimpleNamespace(root_device=torch.device("cuda"))
    trainer: Any = SimpleNamespace(strategy=strategy, lightning_module=model)
    allocated, peaks, free = 5_000, [0], 10**9

    def work(given: object, _: object, count: int, side: int, device: torch.device) -> None:
        assert (given, side, device.type) == (model, 64, "cuda")
        peaks[0] = allocated + 2 * weights + 10_000 * count

    fakes = {
        "empty_cache": lambda: None,
        "mem_get_info": lambda device: (free, 2 * free),
        "memory_allocated": lambda device: allocated,
        "max_memory_allocated": lambda device: peaks[0],
        "reset_peak_memory_stats": lambda device: peaks.__setitem__(0, allocated),
    }
    for name, fake in fakes.items():
        monkeypatch.setattr(torch.cuda, name, fake)
    monkeypatch.setattr(memory, "_least", lambda trainer, number: number)
    for name, held in (("train", 0), ("evaluate", 6)):
        monkeypatch.setattr(memory, name, work)
        capacity = (training_capacity if name == "train" else evaluation_capacity)(trainer, 64)
        assert capacity == pytest.approx((SHARE * (free - held * weights) - 2 * weights) / 10_000, abs=1)
