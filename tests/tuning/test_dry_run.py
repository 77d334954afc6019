from collections.abc import Mapping
from typing import Any

import pytest
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.optim import Optimizer

from emotion_lightning.callbacks import Unfreeze
from emotion_lightning.data import drawn
from emotion_lightning.errors import UsageError
from emotion_lightning.schedule import RECIPE_SCHEDULE
from emotion_lightning.tuning import dry_run as module
from emotion_lightning.tuning.dry_run import BatchTimer, PhaseByPhase, dry_run, table
from tests.helpers import SCHEDULE, Lab

OPTIONS = {"accelerator": "cpu", "gradient_clip_val": 1.0}


class Log(Callback):
    """What a real run does: the epoch, trainable parameters and image side of each step, and its validations."""

    def __init__(self) -> None:
        self.steps: list[tuple[int, int, int]] = []
        self.validations = self.side = 0

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self.side = batch[0].shape[-1]

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        trainable = sum(p.numel() for p in pl_module.parameters() if p.requires_grad)
        self.steps.append((trainer.current_epoch, trainable, self.side))

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
    log, run = Log(), {**OPTIONS, "max_epochs": 5, **options}
    sanity = {"num_sanity_val_steps": 0, "enable_checkpointing": False}
    sides: dict[str, Any] = {"resolution_schedule": {0: 24, 3: 32}}
    lab.trainer(callbacks=[Unfreeze(schedule), log], **run, **sanity).fit(lab.model(), lab.data(**sides))

    found = dry_run(lab.model(), lab.data(**sides), run, schedule, 0.9)
    assert (found.steps, found.validations) == (len(log.steps), log.validations)
    assert sum(cost.steps for cost in found.costs) == len(log.steps)
    for cost in found.costs:
        steps = [step for step in log.steps if cost.phase.start <= step[0] < cost.phase.end]
        assert cost.steps == len(steps)
        assert {(cost.parameters, cost.side)} == {(trainable, side) for _, trainable, side in steps}
    ends = [(cost.phase.start, cost.phase.end, cost.augmentation) for cost in found.costs]
    assert ends == ([(0, 1, 1), (1, 3, 2)] if "max_steps" in options else [(0, 1, 1), (1, 3, 2), (3, 5, 2)])


def test_each_phase_is_measured_as_the_run_would_train_it(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[tuple[int, int, int]] = []

    class Watched(PhaseByPhase):
        def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
            super().on_train_batch_end(trainer, pl_module, *args)
            stages = pl_module.stage_parameters().values()
            trained.append((trainer.current_epoch, sum(p[0].requires_grad for p in stages), args[1][0].shape[-1]))

    monkeypatch.setattr(module, "PhaseByPhase", Watched)
    monkeypatch.setattr(module, "MEASURED", 1)
    data = lab.data(resolution_schedule={0: 24, 35: 32})
    schedule = {0: "classifier_only", 7: "classifier", 20: "layer4", 30: "all", 60: "all"}
    found = dry_run(lab.model(), data, {**OPTIONS, "max_epochs": 50}, schedule, 0.9)
    assert sorted(set(trained)) == [(0, 1, 24), (7, 1, 24), (20, 2, 24), (30, 6, 24), (35, 6, 32)]
    assert len(trained) == 3 * len(found.costs)  # and no more batches than are measured
    assert (data.hparams["unfreeze_epoch"], data.hparams["resolution_schedule"]) == (1, {0: 24, 35: 32})


def test_a_schedule_of_the_recipe_has_its_five_phases(lab: Lab) -> None:
    run = {**OPTIONS, "max_epochs": 80, "limit_train_batches": 1, "limit_val_batches": 1}
    found = dry_run(lab.model(), lab.data(unfreeze_epoch=10), run, RECIPE_SCHEDULE, 0.9999)
    assert [(cost.phase.start, cost.phase.end) for cost in found.costs] == [
        *((0, 10), (10, 20), (20, 30), (30, 40), (40, 80))
    ]
    assert [cost.augmentation for cost in found.costs] == [1, 2, 2, 2, 2]
    assert all(cost.seconds > 0 for cost in found.costs)


@pytest.mark.parametrize(("batches", "excluded"), [(1, 0), (2, 0), (3, 1), (7, 2), (30, 4)])
def test_slow_first_batches_are_left_out(monkeypatch: pytest.MonkeyPatch, batches: int, excluded: int) -> None:
    time = 0.0
    monkeypatch.setattr(module, "now", lambda: time)
    timer = BatchTimer(warm_up=4, batches=batches)
    for batch in range(batches):
        time += 50.0 if batch < excluded else 2.0
        timer.end_of(batch)
    assert timer.seconds == 2.0


def test_the_expected_time_grows_with_the_epochs(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BatchTimer, "end_of", lambda timer, batch: setattr(timer, "seconds", 2.0))
    for epochs in (3, 42):  # 6 batches of training and 2 of validation in each
        run = dry_run(lab.model(), lab.data(), {**OPTIONS, "max_epochs": epochs}, SCHEDULE, 0.9)
        assert [cost.seconds for cost in run.costs] == [12.0, 12.0, 12.0 * (epochs - 2)]
        assert run.seconds == epochs * (6 + 2) * 2.0
        assert [cost.images_per_second for cost in run.costs] == [4.0] * 3


def test_drawing_the_builtin_faces_is_not_measured(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emotion_lightning.data.sources.builtin.SIZES", {"train": 24, "val": 8, "test": 8})
    before: list[int] = []
    short_fit = module.short_fit

    def watched(*args: Any, **changes: Any) -> None:
        before.append(drawn._remembered.cache_info().misses)
        short_fit(*args, **changes)

    monkeypatch.setattr(module, "short_fit", watched)
    data = lab.data(root=None, seed=987)
    dry_run(lab.model(class_names=data.class_names, seed=987), data, {**OPTIONS, "max_epochs": 3}, SCHEDULE, 0.9)
    assert before == [drawn._remembered.cache_info().misses]


def test_the_table_fits_a_terminal_and_says_it_is_an_estimate(lab: Lab) -> None:
    text = table(dry_run(lab.model(), lab.data(), {**OPTIONS, "max_epochs": 12345}, SCHEDULE, 0.9), "32-true")
    lines = text.splitlines()
    assert max(map(len, lines)) <= 100
    assert [line.split()[:2] for line in lines[2:5]] == [["0", "classifier"], ["1", "layer4+"], ["2-12344", "all"]]
    assert "In all 74,070 steps and 12345 validations in " in text
    assert "an estimate" in text
    assert "GPU" not in text


@pytest.mark.parametrize(("option", "value"), [("limit_train_batches", 0), ("val_check_interval", "00:00:10:00")])
def test_what_cannot_be_planned_is_refused(lab: Lab, option: str, value: object) -> None:
    with pytest.raises(UsageError, match=f"`{option}`"):
        dry_run(lab.model(), lab.data(), {**OPTIONS, "max_epochs": 2, option: value}, {0: "all"}, 0.9)
