import csv
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from emotion_lightning.callbacks import Unfreeze
from emotion_lightning.tuning import lr_find as finder
from emotion_lightning.tuning.lr_find import Sweep, lr_find, sweeps
from emotion_lightning.tuning.range_test import RangeTest
from tests.helpers import SCHEDULE, Lab

OPTIONS = {"accelerator": "cpu", "gradient_clip_val": 1.0, "max_epochs": 3}


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finder, "STEPS", 8)


class Groups(Callback):
    """Notes the optimizer's groups before each of its steps."""

    def __init__(self) -> None:
        self.seen: list[dict[str, tuple[float, Any]]] = []

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        self.seen.append({group["name"]: (group["lr"], group["betas"]) for group in optimizer.param_groups})


def test_only_the_rising_stages_rise_and_momentum_stays(lab: Lab) -> None:
    rates, groups = [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0], Groups()  # more than the six batches of an epoch
    callbacks = [Unfreeze({0: "all"}), RangeTest(("stem", "layer4"), rates), groups]
    trainer = lab.trainer(max_epochs=-1, max_steps=7, limit_val_batches=0, callbacks=callbacks)
    trainer.fit(lab.model(lr_backbone=0.5, lr_classifier=0.25), lab.data())
    for stage, expected in (("stem", rates), ("layer4", rates), ("layer3", [0.5] * 7), ("classifier", [0.25] * 7)):
        assert [seen[stage] for seen in groups.seen] == [(rate, (0.9, 0.999)) for rate in expected]


def test_a_sweep_stops_where_the_loss_diverges(lab: Lab) -> None:
    test = RangeTest(("classifier",), [1e-3] * 6 + [1e4] * 40)
    callbacks = [Unfreeze({0: "classifier"}), test]
    lab.trainer(max_epochs=-1, max_steps=46, limit_val_batches=0, callbacks=callbacks).fit(lab.model(), lab.data())
    assert 6 < len(test.losses) < 20


def test_an_accumulated_loss_is_the_mean_of_its_batches(lab: Lab) -> None:
    losses = {}
    for accumulated in (1, 2):
        test = RangeTest(("classifier",), [0.0] * 6)
        changes = {"max_steps": 6 // accumulated, "accumulate_grad_batches": accumulated, "limit_val_batches": 0}
        callbacks = [Unfreeze({0: "classifier"}), test]
        lab.trainer(max_epochs=-1, callbacks=callbacks, **changes).fit(lab.model(), lab.data())
        losses[accumulated] = torch.tensor(test.losses)
    assert torch.allclose(losses[1].view(3, 2).mean(dim=1), losses[2])


def test_every_sweep_starts_from_the_weights_given(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    starts: list[dict[str, Tensor]] = []
    trained: list[str] = []
    phases: list[int | None] = []
    short_fit = finder.short_fit

    def watched(model: Any, data: Any, options: Any, callbacks: list[Callback], **changes: Any) -> None:
        starts.append({name: value.clone() for name, value in model.state_dict().items()})
        assert isinstance(callbacks[0], Unfreeze)
        trained.append(callbacks[0].schedule[0])
        phases.append(data.unfreeze_epoch)
        short_fit(model, data, options, callbacks, **changes)
        before, after = starts[-1], model.state_dict()
        assert any(not torch.equal(before[name], after[name]) for name in after)  # it did train

    monkeypatch.setattr(finder, "short_fit", watched)
    model = lab.model()
    initial = {name: value.clone() for name, value in model.state_dict().items()}
    found = sweeps(model, lab.data(), OPTIONS, SCHEDULE)
    assert trained == ["classifier", "classifier", "stem", "stem"]
    assert phases == [None, None, 0, 0]
    for state in (*starts, model.state_dict()):
        assert all(torch.equal(state[name], value) for name, value in initial.items())
    assert [sweep.part for sweep in found] == ["classifier", "backbone"]
    assert [sweep.configured for sweep in found] == [1e-2, 1e-3]
    for sweep in found:
        assert sweep.losses[0] == sweep.reference[0]  # the same batch, augmented, mixed and dropped out alike
        assert sweep.losses != sweep.reference


@pytest.mark.parametrize("schedule", [{0: "classifier"}, {0: "classifier", 3: "all"}])
def test_a_backbone_that_never_trains_is_left_out(lab: Lab, tmp_path: Path, schedule: dict[int, str]) -> None:
    text = lr_find(lab.model(), lab.data(), OPTIONS | {"default_root_dir": tmp_path / "out"}, schedule)
    assert "backbone    left out, as `schedule` never trains it" in text
    assert {path.name for path in tmp_path.rglob("*")} == {"out", "lr_find", "lr_find.png", "lr_find.csv"}
    with (tmp_path / "out/lr_find/lr_find.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["sweep"] for row in rows] == ["classifier"] * 8
    assert [float(rows[i]["lr"]) for i in (0, -1)] == pytest.approx([1e-6, 1.0])
    assert all(float(row[column]) > 0 for row in rows for column in ("loss", "reference", "smoothed"))
    width, height = struct.unpack(">II", (tmp_path / "out/lr_find/lr_find.png").read_bytes()[16:24])
    assert (width, height) == (720, 540)


def test_suggestions_can_be_pasted(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rates = [10.0**i for i in range(-6, 1)]
    found = [
        Sweep("classifier", 1e-3, rates, [3.0, 3.0, 3.0, 2.0, 1.0, 1.0, 1.0], [3.0] * 7),
        Sweep("backbone", 1e-5, rates, [3.0] * 7, [3.0] * 7),
    ]
    monkeypatch.setattr(finder, "sweeps", lambda *_: found)
    text = lr_find(lab.model(), lab.data(), {"default_root_dir": tmp_path}, SCHEDULE)
    assert "configured 1.0e-03  suggested 1.0e-0" in text
    assert "configured 1.0e-05  suggested none" in text
    assert text.splitlines()[3].startswith("To use what is suggested: `lr_classifier=1.0e-0")
