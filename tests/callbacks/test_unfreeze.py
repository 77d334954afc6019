from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn

from emotion_lightning.callbacks import EMA, RunCheckpoint, Unfreeze
from emotion_lightning.errors import UsageError
from tests.helpers import SCHEDULE, Lab


class Watch(Callback):
    """Notes which stages' tensors changed in each epoch, and what the optimizer and the modes were."""

    def __init__(self) -> None:
        self.changed: list[set[str]] = []
        self.optimizers: list[int] = []
        self.rates: list[float] = []

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.before = {name: value.clone() for name, value in pl_module.state_dict().items()}
        self.optimizers.append(id(trainer.optimizers[0]))

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        changed = {n for n, value in pl_module.state_dict().items() if not torch.equal(value, self.before[n])}
        self.changed.append({stage_of(pl_module, name) for name in changed})


def stage_of(model: LightningModule, name: str) -> str:
    if name.startswith("classifier"):
        return "classifier"
    inner = name.removeprefix("backbone.body.")
    return inner.split(".")[0] if inner.startswith("layer") else "stem"


def test_only_what_is_unfrozen_changes_batch_statistics_included(lab: Lab) -> None:
    watch = Watch()
    schedule = {0: "classifier_only", 1: "layer4", 2: "layer2", 3: "all"}
    trainer = lab.trainer(max_epochs=4, callbacks=[Unfreeze(schedule), watch], val_check_interval=0.5)
    trainer.fit(lab.model(), lab.data())
    assert watch.changed == [
        {"classifier"},
        {"classifier", "layer4"},
        {"classifier", "layer4", "layer3", "layer2"},
        {"classifier", "layer4", "layer3", "layer2", "layer1", "stem"},
    ]
    assert len(set(watch.optimizers)) == 1
    assert len(set(watch.rates[:-1])) == 23  # the schedule moves at every step


@pytest.mark.parametrize("epoch", [0, 1])
def test_resume_continues_with_the_right_stages(lab: Lab, tmp_path: Path, epoch: int) -> None:
    trainer = lab.trainer()
    trainer.fit(lab.model(), lab.data())
    watch, schedule = Watch(), {0: "classifier_only", 1: "layer4", 2: "all_layers"}
    resumed = lab.trainer("resumed", callbacks=[Unfreeze(schedule), EMA(0.9), watch])
    checkpoint = tmp_path / "run" / "checkpoints" / f"epoch_{epoch:03d}.ckpt"
    resumed.fit(lab.model(), lab.data(), ckpt_path=checkpoint)
    everything = {"classifier", "layer4", "layer3", "layer2", "layer1", "stem"}
    assert watch.changed == [{"classifier", "layer4"}, everything][epoch:]


def test_frozen_stages_use_evaluation_mode_and_the_others_training_mode(lab: Lab) -> None:
    class Modes(Callback):
        seen: list[set[str]] = []  # noqa: RUF012

        def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
            norms = (nn.BatchNorm1d, nn.BatchNorm2d, nn.Dropout)
            modules = pl_module.named_modules()
            self.seen.append({stage_of(pl_module, n) for n, m in modules if isinstance(m, norms) and m.training})

    modes = Modes()
    trainer = lab.trainer(max_epochs=2, callbacks=[Unfreeze({0: "classifier", 1: "layer4"}), modes])
    trainer.fit(lab.model(), lab.data())
    assert modes.seen == [{"classifier"}] * 6 + [{"classifier", "layer4"}] * 6


class Tensors(Callback):
    """Keeps the network's tensors after each epoch, as they are trained and as their average."""

    def __init__(self) -> None:
        self.after: list[dict[str, torch.Tensor]] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.before = {name: value.clone() for name, value in pl_module.state_dict().items()}

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.after.append({name: value.clone() for name, value in pl_module.state_dict().items()})


def statistics(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    names = ("running_mean", "running_var", "num_batches_tracked")
    return {n: value for n, value in tensors.items() if n.startswith("backbone") and n.endswith(names)}


@pytest.mark.parametrize("decay", [0.0, 0.9])
@pytest.mark.parametrize("batch_norm", ["train", "frozen"])
@pytest.mark.parametrize("thaws", [{1: "all"}, {1: "layer4", 2: "all"}])  # below layer4, epoch 1 runs folded
def test_frozen_batch_norm_keeps_its_statistics_while_its_weight_and_bias_train(
    lab: Lab, batch_norm: str, decay: float, thaws: dict[int, str]
) -> None:
    tensors = Tensors()
    callbacks = [Unfreeze({0: "classifier_only"} | thaws), EMA(decay), tensors]
    model = lab.model(batch_norm=batch_norm)
    lab.trainer(max_epochs=3, callbacks=callbacks, val_check_interval=0.5).fit(model, lab.data())
    before, (_, thawed, last) = statistics(tensors.before), tensors.after
    kept = {
        name for name, value in before.items() if torch.equal(value, thawed[name]) and torch.equal(value, last[name])
    }
    assert kept == (set(before) if batch_norm == "frozen" else set())
    measured = statistics(dict(model.state_dict()))  # the average, which validation uses
    assert all(torch.equal(measured[name], before[name]) == (batch_norm == "frozen") for name in before)
    affine = [name for name in before for name in [name.replace("running_mean", "weight")] if name.endswith("weight")]
    assert affine
    assert not any(torch.equal(tensors.before[name], last[name]) for name in affine)
    assert not torch.equal(tensors.before["classifier.0.running_mean"], last["classifier.0.running_mean"])


def test_frozen_batch_norm_stays_frozen_in_a_resumed_run(lab: Lab, tmp_path: Path) -> None:
    def fit(folder: str, ckpt_path: Path | None = None) -> dict[str, torch.Tensor]:
        callbacks = [Unfreeze(SCHEDULE), EMA(0.9), RunCheckpoint(every_n_epochs=1)]
        lab.trainer(folder, callbacks=callbacks).fit(
            model := lab.model(batch_norm="frozen"), lab.data(), ckpt_path=ckpt_path
        )
        return dict(model.state_dict())

    whole = fit("whole")
    resumed = fit("resumed", tmp_path / "whole" / "checkpoints" / "epoch_001.ckpt")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_model_without_stages_is_refused(lab: Lab) -> None:
    from lightning.pytorch.demos.boring_classes import BoringModel

    with pytest.raises(UsageError, match="BoringModel has no stages"):
        lab.trainer(callbacks=[Unfreeze()]).fit(BoringModel())


def test_entries_that_never_come_are_said(lab: Lab) -> None:
    trainer = lab.trainer(max_epochs=1, callbacks=[Unfreeze(), RunCheckpoint()])
    with pytest.warns(UserWarning, match=r"epochs \[10, 20, 30, 40\]"):
        trainer.fit(lab.model(), lab.data())


def test_a_resume_between_two_unfreezings_keeps_the_others_frozen(lab: Lab, tmp_path: Path) -> None:
    def callbacks(*more: Callback) -> list[Callback]:
        return [Unfreeze({0: "classifier_only", 3: "all"}), RunCheckpoint(every_n_epochs=1), *more]

    lab.trainer(callbacks=callbacks(), max_epochs=4).fit(lab.model(), lab.data())
    watch = Watch()
    resumed = lab.trainer("resumed", callbacks=callbacks(watch), max_epochs=4)
    resumed.fit(lab.model(), lab.data(), ckpt_path=tmp_path / "run" / "checkpoints" / "epoch_000.ckpt")
    assert watch.changed[:2] == [{"classifier"}, {"classifier"}]
    assert len(watch.changed[2]) == 6


def test_an_epoch_that_is_resumed_in_its_middle_has_its_stages(lab: Lab) -> None:
    """Lightning calls no ``on_train_epoch_start`` there."""
    model, unfreeze = lab.model(), Unfreeze({0: "classifier_only", 1: "layer4"})
    trainer = cast(Trainer, SimpleNamespace(model=model, current_epoch=1))
    unfreeze.on_train_start(trainer, model)
    trains = {stage_of(model, name) for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trains == {"classifier", "layer4"}
