import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.optim import Optimizer

from emotion_lightning.callbacks import Unfreeze
from emotion_lightning.tuning import lr_find as finder
from emotion_lightning.tuning.lr_find import RangeTest, lr_find
from tests.helpers import Lab

OPTIONS = {"accelerator": "cpu", "gradient_clip_val": 1.0, "max_epochs": 3}


class Groups(Callback):
    """Notes the classifier's group before each step of the optimizer."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, Any]] = []

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        self.seen += [(g["lr"], g["betas"]) for g in optimizer.param_groups if g["name"] == "classifier"]


def sweep(lab: Lab, rates: list[float], **options: Any) -> tuple[RangeTest, Groups]:
    test, groups = RangeTest(rates), Groups()
    trainer = lab.trainer(
        max_epochs=-1, max_steps=len(rates), limit_val_batches=0,
        callbacks=[Unfreeze({0: "classifier"}), test, groups], **options,
    )  # fmt: skip
    trainer.fit(lab.model(), lab.data())
    return test, groups


def test_each_step_has_its_rate_and_momentum_stays(lab: Lab) -> None:
    rates = [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0]  # more than the six batches of an epoch
    assert sweep(lab, rates)[1].seen == [(rate, (0.9, 0.999)) for rate in rates]


def test_the_test_stops_where_the_loss_diverges(lab: Lab) -> None:
    test, _ = sweep(lab, [1e-3] * 6 + [1e4] * 40)
    assert 6 < len(test.losses) < 20


def test_an_accumulated_loss_is_the_mean_of_its_batches(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finder, "SMOOTHING", 0.0)
    single, _ = sweep(lab, [0.0] * 6)
    double, _ = sweep(lab, [0.0] * 3, accumulate_grad_batches=2)
    assert torch.tensor(single.losses).view(3, 2).mean(dim=1).tolist() == pytest.approx(double.losses)


def test_the_steepest_descent_is_suggested_and_nothing_where_the_loss_only_rises() -> None:
    test = RangeTest([10.0**i for i in range(-6, 1)])
    test.losses = [3.0, 3.0, 2.9, 1.5, 1.0, 1.1, 5.0]
    assert test.suggestion == 1e-3
    test.losses = [1.0, 2.0, 3.0]
    assert test.suggestion is None


def test_the_weights_are_put_back_and_the_suggestion_can_be_pasted(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finder, "STEPS", 12)
    model = lab.model()
    initial = {name: value.clone() for name, value in model.state_dict().items()}
    text = lr_find(model, lab.data(), OPTIONS | {"default_root_dir": tmp_path / "out"})
    assert all(torch.equal(value, initial[name]) for name, value in model.state_dict().items())
    assert "configured 1.0e-02, suggested " in text
    assert "`lr_classifier=" in text or "nothing, as the loss never falls" in text
    assert "This is a hint" in text
    assert {path.name for path in tmp_path.rglob("*")} == {"out", "lr_find", "lr_find.png"}
    width, height = struct.unpack(">II", (tmp_path / "out/lr_find/lr_find.png").read_bytes()[16:24])
    assert (width, height) == (720, 540)
