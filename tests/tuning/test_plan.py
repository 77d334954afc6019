from collections.abc import Mapping
from typing import Any

import pytest
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.optim import Optimizer

from emotion_lightning.callbacks import Unfreeze
from emotion_lightning.errors import UsageError
from emotion_lightning.schedule import RECIPE_SCHEDULE
from emotion_lightning.tuning.dry_run import dry_run
from emotion_lightning.tuning.plan import learning_rates, peak_step
from tests.helpers import Lab

PEAKS = {"lr_classifier": 1e-2, "lr_backbone": 1e-3, "weight_decay": 0.01, "eps": 1e-8}


class Log(Callback):
    """What a real run does: the epoch, rates and number of trainable parameters of each step, and its validations."""

    def __init__(self) -> None:
        self.steps: list[tuple[int, tuple[float, float], int]] = []
        self.validations = 0

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        rates = {group["name"]: group["lr"] for group in optimizer.param_groups}
        trainable = sum(p.numel() for p in pl_module.parameters() if p.requires_grad)
        self.steps.append((trainer.current_epoch, (rates["classifier"], rates["stem"]), trainable))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.validations += 1


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"accumulate_grad_batches": 4},
        {"max_steps": 15},
        {"limit_train_batches": 4, "limit_val_batches": 1},
        {"limit_train_batches": 0.5, "check_val_every_n_epoch": 2},
        {"val_check_interval": 0.5},
        {"val_check_interval": 4, "check_val_every_n_epoch": None},
        {"limit_val_batches": 0},
    ],
    ids=str,
)
def test_a_dry_run_says_what_the_run_does(lab: Lab, options: Mapping[str, Any]) -> None:
    schedule = {0: "classifier_only", 1: "layer4", 3: "all_layers", 9: "all_layers"}
    log = Log()
    run = {"accelerator": "cpu", "max_epochs": 5, "gradient_clip_val": 1.0, **options}
    sanity = {"num_sanity_val_steps": 0, "enable_checkpointing": False}
    lab.trainer(callbacks=[Unfreeze(schedule), log], **run, **sanity).fit(lab.model(), lab.data())

    found = dry_run(lab.model(), lab.data(), run, schedule, 0.9)
    assert (found.plan.steps, found.plan.validations) == (len(log.steps), log.validations)
    assert sum(cost.steps for cost in found.costs) == len(log.steps)
    for cost in found.costs:
        steps = [step for step in log.steps if cost.phase.start <= step[0] < cost.phase.end]
        assert cost.steps == len(steps)
        assert cost.first_rates == pytest.approx(steps[0][1], rel=1e-9)
        assert cost.last_rates == pytest.approx(steps[-1][1], rel=1e-9)
        assert {cost.parameters} == {trainable for _, _, trainable in steps}
    ends = [(cost.phase.start, cost.phase.end, cost.augmentation) for cost in found.costs]
    assert ends == ([(0, 1, 1), (1, 3, 2)] if "max_steps" in options else [(0, 1, 1), (1, 3, 2), (3, 5, 2)])
    groups = {group.name: group for group in found.plan.groups}
    assert (groups["stem"].peak_lr, groups["classifier"].peak_lr) == (1e-3, 1e-2)
    assert groups["layer4"].weight_decay == 0.01
    assert sum(group.parameters for group in groups.values()) == sum(p.numel() for p in lab.model().parameters())


def test_a_schedule_of_the_recipe_has_its_five_phases(lab: Lab) -> None:
    run = {"accelerator": "cpu", "max_epochs": 80, "limit_train_batches": 1, "limit_val_batches": 1}
    found = dry_run(lab.model(), lab.data(), run, RECIPE_SCHEDULE, 0.9999)
    ends = [(cost.phase.start, cost.phase.end) for cost in found.costs]
    assert ends == [(0, 10), (10, 20), (20, 30), (30, 40), (40, 80)]
    assert [cost.augmentation for cost in found.costs] == [1, 2, 2, 2, 2]
    assert all(cost.step_seconds > 0 for cost in found.costs)


@pytest.mark.parametrize("pct_start", [0.1, 0.3, 0.95])
@pytest.mark.parametrize("steps", [1, 2, 3, 7, 24, 100])
def test_the_peak_is_where_the_rates_are_highest(steps: int, pct_start: float) -> None:
    hparams = PEAKS | {"pct_start": pct_start}
    rates = [learning_rates(hparams, steps, step)[0] for step in range(steps)]
    assert peak_step(hparams, steps) == rates.index(max(rates))


def test_no_batch_to_train_on_is_refused(lab: Lab) -> None:
    run = {"accelerator": "cpu", "max_epochs": 2, "limit_train_batches": 0}
    with pytest.raises(UsageError, match=r"`limit_train_batches`"):
        dry_run(lab.model(), lab.data(), run, {0: "all"}, 0.9)


def test_an_interval_in_time_is_refused(lab: Lab) -> None:
    run = {"accelerator": "cpu", "max_epochs": 2, "val_check_interval": "00:00:10:00"}
    with pytest.raises(UsageError, match=r"`val_check_interval`"):
        dry_run(lab.model(), lab.data(), run, {0: "all"}, 0.9)
