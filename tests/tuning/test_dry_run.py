from collections.abc import Iterator
from typing import Any

import pytest
from lightning.pytorch import LightningModule, Trainer

from emotion_lightning.callbacks import EMA, BatchSize, Unfreeze
from emotion_lightning.data import drawn as faces
from emotion_lightning.schedule import augmentation_phase
from emotion_lightning.tuning import dry_run as dry_run_module
from emotion_lightning.tuning import stopwatch
from emotion_lightning.tuning.dry_run import DryRun, dry_run
from emotion_lightning.tuning.dry_run_report import tables
from emotion_lightning.tuning.stopwatch import Lap
from tests.helpers import SCHEDULE, Lab


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(stopwatch, "_now", clock)
    return clock


@pytest.mark.parametrize(("batches", "excluded"), [(1, 0), (2, 0), (3, 1), (7, 2), (30, 4)])
def test_slow_first_batches_are_left_out(clock: Clock, batches: int, excluded: int) -> None:
    lap = Lap(warm_up=4)
    lap.start(batches)
    for batch in range(batches):
        clock.time += 50.0 if batch < excluded else 2.0
        lap.end_of(batch)
    assert lap.seconds == 2.0


def ticking() -> Iterator[float]:
    time = 0.0
    while True:
        time += 1.0
        yield time


def planned(lab: Lab, max_epochs: int) -> DryRun:
    options = {"accelerator": "cpu", "max_epochs": max_epochs, "gradient_clip_val": 1.0}
    return dry_run(lab.model(), lab.data(), options, SCHEDULE, 0.9)


def test_the_expected_time_grows_with_the_epochs(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = ticking()
    monkeypatch.setattr(stopwatch, "_now", lambda: next(ticks))  # each reading is a second after the one before
    short, long = planned(lab, 3), planned(lab, 42)
    for run, epochs in ((short, 3), (long, 42)):  # 6 batches, 2 of them left out; 2 validation batches, none left out
        assert [cost.seconds for cost in run.costs] == pytest.approx([6 / 4, 6 / 4, (epochs - 2) * 6 / 4])
        assert run.validation_seconds == 1.0
        assert run.seconds == pytest.approx(epochs * 6 / 4 + epochs)
        assert [cost.images_per_second for cost in run.costs] == pytest.approx([8 * 4] * 3)


def test_each_phase_is_measured_as_the_run_would_train_it(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[tuple[tuple[str, ...], int]] = []

    class Watched(stopwatch.Stopwatch):
        def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            super().on_train_epoch_end(trainer, pl_module)
            assert [type(callback) for callback in trainer.callbacks] == [BatchSize, Unfreeze, EMA, Watched]
            stages = pl_module.stage_parameters()
            trains = tuple(stage for stage, parameters in stages.items() if parameters[0].requires_grad)
            phase = augmentation_phase(trainer.current_epoch, trainer.datamodule.unfreeze_epoch)
            trained.append((trains, phase))

    monkeypatch.setattr(dry_run_module, "Stopwatch", Watched)
    options = {"accelerator": "cpu", "max_epochs": 50, "gradient_clip_val": 1.0}
    schedule = {0: "classifier_only", 7: "classifier", 20: "layer4", 30: "all", 60: "all"}
    found = dry_run(lab.model(), lab.data(unfreeze_epoch=20), options, schedule, 0.9)
    assert trained == [(cost.phase.stages, cost.augmentation) for cost in found.costs]
    assert [augmentation for _, augmentation in trained] == [1, 1, 2, 2]


def test_each_size_is_measured_as_the_run_would_train_it(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[tuple[int, int]] = []

    class Watched(stopwatch.Stopwatch):
        def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, *args: Any) -> None:
            trained.append((trainer.current_epoch, batch[0].shape[-1]))

    monkeypatch.setattr(dry_run_module, "Stopwatch", Watched)
    options = {"accelerator": "cpu", "max_epochs": 50, "gradient_clip_val": 1.0}
    data = lab.data(resolution_schedule={0: 24, 20: 28, 35: 32})
    found = dry_run(lab.model(), data, options, {0: "classifier_only", 20: "layer4", 30: "all"}, 0.9)
    assert [(cost.phase.start, cost.phase.end, cost.side) for cost in found.costs] == [
        *((0, 20, 24), (20, 30, 28), (30, 35, 28), (35, 50, 32))
    ]
    assert sorted(set(trained)) == [(0, 24), (1, 28), (2, 28), (3, 32)]
    text = tables(found, lab.model().hparams, "32-true")
    assert [line.split()[:3] for line in text.splitlines() if " px " in line] == [
        *(["0-19", "24", "px"], ["20-29", "28", "px"], ["30-34", "28", "px"], ["35-49", "32", "px"])
    ]


def test_drawing_the_builtin_faces_is_not_measured(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emotion_lightning.data.sources.builtin.SIZES", {"train": 24, "val": 8, "test": 8})
    drawn: list[int] = []
    short_fit = dry_run_module.short_fit

    def watched(*args: Any, **changes: Any) -> None:
        before = faces._remembered.cache_info().misses
        short_fit(*args, **changes)
        drawn.append(faces._remembered.cache_info().misses - before)

    monkeypatch.setattr(dry_run_module, "short_fit", watched)
    data = lab.data(root=None, seed=987)
    options = {"accelerator": "cpu", "max_epochs": 3}
    dry_run(lab.model(class_names=data.class_names, seed=987), data, options, SCHEDULE, 0.9)
    assert drawn == [0, 0]


def test_the_report_fits_a_terminal_and_says_it_is_an_estimate(lab: Lab) -> None:
    run, model = planned(lab, 12345), lab.model()
    text = tables(run, model.hparams, "32-true")
    assert max(len(line) for line in text.splitlines()) <= 100
    lines = {line.split()[0]: line for line in text.splitlines() if line}
    assert lines["0"].split()[-1] == "s"
    [row] = [line for line in text.splitlines() if line.startswith("2-12344") and "aggressive" in line]
    assert "all" in row
    [row] = [line for line in text.splitlines() if line.startswith("0") and "conservative" in line]
    assert row.endswith("frozen")
    assert "Steps: 6 per epoch, 74,070 in all; batches of 8 images" in text
    assert "Validation: 2 batches" in text
    assert "an estimate" in text
    assert "GPU" not in text
