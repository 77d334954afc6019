from math import cos, pi

import pytest
import torch
from torch import nn

from emotion_lightning.model.optim import LRSchedule, build_optimizer, build_scheduler, planned_steps


def make(
    total_steps: int, pct_start: float = 0.1, lr_schedule: LRSchedule = "one_cycle"
) -> tuple[torch.optim.AdamW, torch.optim.lr_scheduler.LRScheduler]:
    stages = {"stem": [nn.Parameter(torch.ones(2))], "classifier": [nn.Parameter(torch.ones(2))]}
    optimizer = build_optimizer(stages, lr_backbone=1e-5, lr_classifier=1e-3, weight_decay=0.01, eps=1e-8)
    return optimizer, build_scheduler(optimizer, total_steps, pct_start, lr_schedule)


def learning_rates(total_steps: int, lr_schedule: LRSchedule = "one_cycle") -> dict[str, list[float]]:
    optimizer, scheduler = make(total_steps, lr_schedule=lr_schedule)
    rates: dict[str, list[float]] = {"stem": [], "classifier": []}
    for _ in range(total_steps):
        for group in optimizer.param_groups:
            rates[group["name"]].append(group["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def test_each_group_rises_for_a_tenth_to_its_own_peak_and_anneals() -> None:
    for name, peak in (("stem", 1e-5), ("classifier", 1e-3)):
        rates = learning_rates(200)[name]
        assert max(rates) == pytest.approx(peak)
        assert rates.index(max(rates)) == 19
        assert rates[0] == pytest.approx(peak / 25)
        assert rates[-1] < peak / 1000
        assert rates[:20] == sorted(rates[:20])
        assert rates[19:] == sorted(rates[19:], reverse=True)


def test_it_rises_and_anneals_by_cosine_at_every_step() -> None:
    def between(start: float, end: float, share: float) -> float:
        return end + (start - end) * (1 + cos(pi * share)) / 2

    steps, peak = 100, 1e-3
    top = 0.1 * steps - 1
    expected = [between(peak / 25, peak, step / top) for step in range(10)]
    expected += [between(peak, peak / 25 / 1e4, (step - top) / (steps - 1 - top)) for step in range(10, steps)]
    assert learning_rates(steps)["classifier"] == pytest.approx(expected, rel=1e-6)


def test_other_schedules_anneal_from_the_first_step_or_keep_the_peak() -> None:
    schedules: tuple[tuple[LRSchedule, float, float], ...] = (("cosine", 0.5, 0.0), ("constant", 1.0, 1.0))
    for lr_schedule, at_half, at_end in schedules:
        for peak, seen in zip((1e-5, 1e-3), learning_rates(100, lr_schedule).values(), strict=True):
            assert (seen[0], seen[50]) == pytest.approx((peak, at_half * peak))
            assert seen[-1] == pytest.approx(at_end * peak, abs=peak / 1000)


@pytest.mark.parametrize("lr_schedule", ["one_cycle", "cosine", "constant"])
def test_a_schedule_tells_how_long_a_run_it_was_planned_for_also_after_a_resume(lr_schedule: LRSchedule) -> None:
    long, short = (make(steps, lr_schedule=lr_schedule)[1] for steps in (200, 100))
    assert (planned_steps(long), planned_steps(short)) == (200, 100)
    short.load_state_dict(long.state_dict())
    assert planned_steps(short) == 200


def test_every_weight_decays_by_the_share_given_and_steps_are_damped_by_eps() -> None:
    weight = nn.Parameter(torch.ones(2))
    optimizer = build_optimizer({"stem": [weight], "classifier": []}, 0.1, 0.1, weight_decay=0.5, eps=1e3)
    weight.grad = torch.ones(2)
    optimizer.step()
    torch.testing.assert_close(weight.data, torch.full((2,), 0.95), atol=2e-4, rtol=0)  # the step itself is 0.1 / 1001
    weight.grad = torch.ones(2)
    build_optimizer({"stem": [weight], "classifier": []}, 0.1, 0.1, weight_decay=0.0, eps=1e-8).step()
    torch.testing.assert_close(weight.data, torch.full((2,), 0.85), atol=2e-4, rtol=0)


@pytest.mark.parametrize("total_steps", [1, 2, 3, 9, 10, 11])
def test_very_short_runs_work(total_steps: int) -> None:
    assert len(learning_rates(total_steps)["stem"]) == total_steps


def test_a_parameter_without_gradient_is_neither_moved_nor_decayed() -> None:
    optimizer, _ = make(10)
    frozen, trained = (group["params"][0] for group in optimizer.param_groups)
    trained.grad = torch.ones(2)
    optimizer.step()
    assert torch.equal(frozen, torch.ones(2))
    assert not torch.equal(trained, torch.ones(2))


def test_a_resume_steps_as_this_machine_does_whatever_the_checkpoints_did() -> None:
    saved = make(10)[0].state_dict()
    for group in saved["param_groups"]:
        group["fused"] = None
        group["lr"] = 0.5
    optimizer, _ = make(10)
    optimizer.load_state_dict(saved)
    assert [(group["fused"], group["lr"]) for group in optimizer.param_groups] == [(True, 0.5)] * 2
    assert saved["param_groups"][0]["fused"] is None
