import signal
from functools import partial
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn

from emotion_lightning.callbacks import EMA, EarlyStopping, RunCheckpoint, Unfreeze
from emotion_lightning.callbacks.ema import ema_decay
from emotion_lightning.errors import UsageError
from emotion_lightning.model.module import EmotionClassifier
from tests.helpers import Lab

TRAINING = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")

State = dict[str, torch.Tensor]


def copy(model: LightningModule) -> State:
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(a: State, b: State) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


class Follow(Callback):
    """Keeps an average of its own, in the plainest way, and notes what was validated."""

    def __init__(self, decay: float) -> None:
        self.decay, self.updates = decay, 0
        self.validated: list[State] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.average = {n: v.float() if v.is_floating_point() else v for n, v in copy(pl_module).items()}

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        if trainer.global_step == self.updates:
            return
        d = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        for name, value in pl_module.state_dict().items():
            old = self.average[name]
            self.average[name] = d * old + (1 - d) * value.float() if value.is_floating_point() else value.clone()

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, *args: Any
    ) -> None:
        if batch_idx == 0 and not trainer.sanity_checking:
            self.validated.append(copy(pl_module))


@pytest.mark.parametrize(("updates", "expected"), [(0, 0.1), (90, 0.91), (10**9, 0.9999)])
def test_decay_warms_up(updates: int, expected: float) -> None:
    assert ema_decay(updates, 0.9999) == pytest.approx(expected)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_average_covers_every_weight_also_those_unfrozen_later(lab: Lab, accumulate: int) -> None:
    follow = Follow(0.9)
    callbacks = [Unfreeze({0: "classifier", 1: "layer4", 2: "all"}), follow, EMA(0.9)]
    trainer = lab.trainer(callbacks=callbacks, accumulate_grad_batches=accumulate)
    model = lab.model()
    trainer.fit(model, lab.data())
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, follow.average[name], rtol=1e-4, atol=1e-6)


def test_what_is_validated_is_what_the_best_checkpoint_holds_and_a_test_measures(lab: Lab, tmp_path: Path) -> None:
    follow = Follow(0.9)
    checkpoint = RunCheckpoint()
    trainer = lab.trainer(callbacks=[Unfreeze({0: "all"}), follow, EMA(0.9), EarlyStopping(), checkpoint])
    model = lab.model()
    trainer.fit(model, lab.data())
    best = torch.load(checkpoint.best_model_path, weights_only=True)
    assert same(best["state_dict"], follow.validated[checkpoint.best_epoch])
    assert not same(best["state_dict"], best["raw_state_dict"])
    assert same(copy(model), best["state_dict"])  # restored at the end

    (same_process,) = trainer.test(model, lab.data(test_split="val"), ckpt_path="best", verbose=False)
    assert same(copy(model), best["state_dict"])
    fresh = lab.model()
    (anew,) = lab.trainer("other").test(
        fresh, lab.data(test_split="val"), ckpt_path=checkpoint.best_model_path, verbose=False
    )
    assert same_process == anew
    assert anew["test/f1_macro"] == pytest.approx(checkpoint.best_score, abs=1e-6)
    assert same(copy(EmotionClassifier.load_from_checkpoint(checkpoint.best_model_path)), best["state_dict"])


def test_a_checkpoint_is_measured_as_it_is_after_a_resume_that_trained_nothing(lab: Lab, tmp_path: Path) -> None:
    checkpoints = tmp_path / "run" / "checkpoints"
    trainer = lab.trainer(callbacks=[Unfreeze({0: "all"}), EMA(0.9), RunCheckpoint(every_n_epochs=1)], max_epochs=2)
    trainer.fit(lab.model(), lab.data())
    first, last = (torch.load(checkpoints / name, weights_only=True) for name in ("epoch_000.ckpt", "last.ckpt"))
    model, follow = lab.model(), Follow(0.9)
    trainer = lab.trainer(callbacks=[Unfreeze({0: "all"}), EMA(0.9), follow, RunCheckpoint()], max_epochs=2)
    trainer.fit(model, lab.data(), ckpt_path=checkpoints / "last.ckpt")
    assert same(copy(model), last["state_dict"])
    trainer.validate(model, lab.data(), ckpt_path=checkpoints / "epoch_000.ckpt", verbose=False)
    assert same(follow.validated[-1], first["state_dict"])


def test_training_goes_on_from_the_training_weights_after_validation(lab: Lab, tmp_path: Path) -> None:
    raw = {}
    for name, callbacks in (("with", [EMA(0.99)]), ("without", [])):
        trainer = lab.trainer(name, callbacks=[Unfreeze({0: "all"}), RunCheckpoint(), *callbacks], max_epochs=2)
        trainer.fit(lab.model(), lab.data())
        state = torch.load(tmp_path / name / "checkpoints" / "last.ckpt", weights_only=True)
        raw[name] = state.get("raw_state_dict", state["state_dict"])
    assert same(raw["with"], raw["without"])


def test_an_interrupted_validation_leaves_the_training_weights(lab: Lab) -> None:
    class Interrupt(Callback):
        def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            self.raw = copy(pl_module)

        def on_validation_batch_start(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
            if trainer.current_epoch == 1 and not trainer.sanity_checking:
                raise RuntimeError("power cut")

        def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
            self.raw = copy(pl_module)

    interrupt, model = Interrupt(), lab.model()
    trainer = lab.trainer(callbacks=[Unfreeze({0: "all"}), EMA(0.9), interrupt])
    with pytest.raises(RuntimeError, match="power cut"):
        trainer.fit(model, lab.data())
    assert same(copy(model), interrupt.raw)


def test_zero_switches_it_off(lab: Lab, tmp_path: Path) -> None:
    trainer = lab.trainer(callbacks=[Unfreeze({0: "all"}), EMA(0), RunCheckpoint()], max_epochs=1)
    trainer.fit(lab.model(), lab.data())
    assert "raw_state_dict" not in torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)


def test_switching_it_off_in_a_resume_is_refused(lab: Lab, tmp_path: Path) -> None:
    lab.trainer(max_epochs=2).fit(lab.model(), lab.data())
    trainer = lab.trainer("other", callbacks=[Unfreeze({0: "all"}), EMA(0)], max_epochs=2)
    with pytest.raises(UsageError, match="averaged weights"):
        trainer.fit(lab.model(), lab.data(), ckpt_path=tmp_path / "run" / "checkpoints" / "epoch_000.ckpt")


@pytest.mark.parametrize("decay", [1.0, -0.1])
def test_decay_outside_its_range_is_refused(decay: float) -> None:
    with pytest.raises(UsageError, match=r"`decay`"):
        EMA(decay)


def test_a_frozen_stage_equals_its_average_to_the_bit(lab: Lab, tmp_path: Path) -> None:
    callbacks = [Unfreeze({0: "classifier"}), EMA(0.9), RunCheckpoint()]
    lab.trainer(callbacks=callbacks, max_epochs=2).fit(lab.model(), lab.data())
    last = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    frozen = [name for name in last["state_dict"] if name.startswith("backbone.")]
    assert all(torch.equal(last["state_dict"][name], last["raw_state_dict"][name]) for name in frozen)
    assert not same(last["state_dict"], last["raw_state_dict"])


def test_a_checkpoint_saved_while_validating_names_its_weights_rightly(lab: Lab, tmp_path: Path) -> None:
    class Save(Callback):
        def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            if not trainer.sanity_checking:
                trainer.save_checkpoint(tmp_path / "within.ckpt")

    callbacks = [Unfreeze({0: "all"}), EMA(0.9), RunCheckpoint(), Save()]
    lab.trainer(callbacks=callbacks, max_epochs=1).fit(lab.model(), lab.data())
    within = torch.load(tmp_path / "within.ckpt", weights_only=True)
    last = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    for key in ("state_dict", "raw_state_dict"):
        assert same(within[key], last[key])


MOMENTS = (
    *("on_train_batch_end", "on_validation_start", "on_validation_batch_end", "on_validation_epoch_end"),
    *("on_validation_end", "on_train_epoch_end", "on_train_end"),
)


class Saver(Callback):
    """Saves a checkpoint at every moment after a step of training; the last of each stays."""

    def __init__(self, folder: Path) -> None:
        for moment in MOMENTS:
            setattr(self, moment, partial(self._save, path=folder / f"{moment}.ckpt"))

    def _save(self, trainer: Trainer, pl_module: LightningModule, *args: Any, path: Path) -> None:
        if not trainer.sanity_checking:
            trainer.save_checkpoint(path)


@pytest.mark.parametrize("precision", ["32-true", "bf16-true"])
def test_whenever_a_checkpoint_is_saved_it_names_its_weights_rightly(lab: Lab, tmp_path: Path, precision: Any) -> None:
    class Note(Follow):
        def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
            super().on_train_batch_end(trainer, pl_module, *args)
            self.raw = copy(pl_module)

    note, before, after = Note(0.9), Saver(tmp_path / "before"), Saver(tmp_path / "after")
    callbacks = [Unfreeze({0: "all"}), note, before, EMA(0.9), after]
    lab.trainer(callbacks=callbacks, max_epochs=2, precision=precision).fit(lab.model(), lab.data())
    for place, moment in product(("before", "after"), MOMENTS):
        if (place, moment) == ("before", "on_train_batch_end"):
            continue  # the step that was taken is not in the average yet
        found = torch.load(tmp_path / place / f"{moment}.ckpt", weights_only=True)
        assert same(found["raw_state_dict"], note.raw), (place, moment)
        for name, value in note.average.items():
            torch.testing.assert_close(found["state_dict"][name], value, rtol=1e-4, atol=1e-6)


def test_an_average_in_half_precision_follows_steps_that_half_precision_cannot_add() -> None:
    class Half(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(4, dtype=torch.bfloat16))

    ema, model, trainer = EMA(0.999), cast(LightningModule, Half()), cast(Trainer, SimpleNamespace(global_step=0))
    ema.on_fit_start(trainer, model)
    exact = torch.ones(4, dtype=torch.double)
    for step in range(340):
        if step == 100:  # a tenth of the way to it is less than half of what separates 1 from the next number
            model.weight.data.fill_(1.03125)
        trainer.global_step = step + 1
        ema.on_train_batch_end(trainer, model, None, None, step)
        exact.lerp_(model.weight.double(), 1 - ema_decay(step, 0.999))
    ema.on_train_end(trainer, model)
    assert torch.equal(model.weight, exact.bfloat16())


def test_checkpoints_of_the_training_weights_alone_are_refused(lab: Lab, tmp_path: Path) -> None:
    saver = ModelCheckpoint(tmp_path, save_weights_only=True)
    with pytest.raises(UsageError, match="`save_weights_only` would save the training weights"):
        lab.trainer(callbacks=[EMA(0.9), saver], max_epochs=1).fit(lab.model(), lab.data())
    lab.trainer(callbacks=[EMA(0), saver], max_epochs=1).fit(lab.model(), lab.data())


def test_a_second_fit_does_not_go_on_with_the_average_of_an_interrupted_one(lab: Lab) -> None:
    class Stop(Callback):
        def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
            raise RuntimeError("power cut")

    ema, follow = EMA(0.9), Follow(0.9)
    with pytest.raises(RuntimeError, match="power cut"):
        lab.trainer(callbacks=[ema, Stop()], max_epochs=1).fit(lab.model(), lab.data())
    other = lab.model(seed=1)
    lab.trainer("other", callbacks=[ema, follow], max_epochs=1).fit(other, lab.data(seed=1))
    for name, value in other.state_dict().items():
        torch.testing.assert_close(value, follow.average[name], rtol=1e-4, atol=1e-6)


class Stop(Callback):
    """Interrupts a run, as Ctrl-C does, at a hook of epoch 1."""

    def __init__(self, hook: str) -> None:
        setattr(self, hook, self.interrupt)

    def interrupt(self, trainer: Trainer, *args: Any) -> None:
        if trainer.current_epoch == 1 and trainer.state.fn == "fit":
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("hook", "use"),
    [
        ("on_train_batch_start", "validate"),
        ("on_train_batch_end", "test"),
        ("on_validation_batch_start", "predict"),
        ("on_validation_batch_start", "fit"),
        ("on_train_epoch_end", "validate"),
    ],
)
def test_after_an_interruption_a_checkpoint_is_used_with_its_own_weights(
    lab: Lab, tmp_path: Path, hook: str, use: str
) -> None:
    follow, model = Follow(0.9), lab.model()
    keep, saver = Keep(), RunCheckpoint(every_n_epochs=1)
    trainer = lab.trainer(callbacks=[Unfreeze({0: "all"}), EMA(0.9), Stop(hook), follow, keep, saver], max_epochs=2)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(SystemExit):
        trainer.fit(model, lab.data())
    signal.signal(signal.SIGINT, handler)  # Lightning switches it off
    first = tmp_path / "run" / "checkpoints" / "epoch_000.ckpt"
    if use == "fit":  # what is saved by hand still has both
        trainer.save_checkpoint(tmp_path / "now.ckpt")
        now = torch.load(tmp_path / "now.ckpt", weights_only=True)
        assert same(now["raw_state_dict"], copy(model))
        assert not same(now["state_dict"], now["raw_state_dict"])
        return
    keep.weights = None
    getattr(trainer, use)(model, datamodule=lab.data(), ckpt_path=first)
    assert keep.weights is not None
    assert same(keep.weights, torch.load(first, weights_only=True)["state_dict"])


class Keep(Callback):
    """Keeps the weights with which a batch is evaluated."""

    weights: State | None = None

    def on_validation_batch_start(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        self.weights = copy(pl_module)

    on_test_batch_start = on_predict_batch_start = on_validation_batch_start


@pytest.mark.parametrize(("decay", "first"), [(0.97, 290), (0.99, 890), (0.999, 8990), (0.9999, 89990)])
def test_a_decay_acts_from_the_step_that_the_docs_name(decay: float, first: int) -> None:
    def largest(step: int) -> float:
        return ema_decay(step, 0.999999)

    assert ema_decay(first - 1, decay) == largest(first - 1) < decay
    assert ema_decay(first + 1, decay) == decay < largest(first + 1)
    assert f"{decay} from {'step ' if decay == 0.97 else ''}{first:,}" in TRAINING
