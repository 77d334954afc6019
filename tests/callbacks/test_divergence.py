import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.plugins import MixedPrecision

from emotion_lightning.callbacks import EMA, Divergence, RunCheckpoint, Unfreeze, divergence
from emotion_lightning.errors import DataError, DivergenceError
from emotion_lightning.model.module import EmotionClassifier
from tests.helpers import QUIET, RUN, TINY, Batches, Lab, fails

EPOCH = 6
"""Steps of an epoch."""


class Spoil(Callback):
    """Makes something of a step a number that is not finite: its loss, its gradients or the weights after it."""

    def __init__(self, what: str, step: int, value: float = math.nan) -> None:
        self.what, self.step, self.value = what, step, value
        self.steps = 0

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: torch.Tensor) -> None:
        self.steps += 1
        if self.what == "loss" and self.steps == self.step:
            loss.data.fill_(self.value)

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.what == "gradient" and self.steps >= self.step:
            next(p for p in pl_module.parameters() if p.grad is not None).grad.fill_(self.value)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        if self.what == "weight" and self.steps == self.step:
            next(pl_module.classifier.parameters()).data.fill_(self.value)


class SpoiledLoss(EmotionClassifier):
    """Its loss is no number at one step."""

    at = 1

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        loss = super().training_step(batch, batch_idx)
        return loss * math.nan if self.trainer.global_step + 1 == self.at else loss


class Scaled(MixedPrecision):
    """The scaler of 16-mixed on a CPU."""

    def __init__(self) -> None:
        super().__init__("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=1024.0))

    def autocast_context_manager(self) -> torch.autocast:
        return torch.autocast("cpu", enabled=False)


def spoiled(lab: Lab, step: int) -> EmotionClassifier:
    model = lab.model()
    model.__class__ = SpoiledLoss
    model.at = step  # type: ignore[attr-defined]
    return model


def fit(lab: Lab, model: EmotionClassifier, *callbacks: Callback, ema: float = 0.9, **options: Any) -> Trainer:
    recipe = [Unfreeze({0: "all"}), EMA(ema), RunCheckpoint(every_n_epochs=0), Divergence(), *callbacks]
    trainer = lab.trainer(callbacks=recipe, **{"max_epochs": 3} | options)
    trainer.fit(model, lab.data())
    return trainer


def finite(path: Path) -> bool:
    saved = torch.load(path, weights_only=True)
    values = [*saved["state_dict"].values(), *saved.get("raw_state_dict", {}).values()]
    return all(bool(value.isfinite().all()) for value in values)


@pytest.mark.parametrize("ema", [0.0, 0.9])
@pytest.mark.parametrize("step", [1, EPOCH, 2 * EPOCH + 3])
def test_a_loss_that_is_no_number_ends_the_run_at_its_step(lab: Lab, step: int, ema: float) -> None:
    seen = Batches()
    with pytest.raises(DivergenceError) as stopped:
        fit(lab, spoiled(lab, step), seen, ema=ema)
    assert f"epoch {(step - 1) // EPOCH + 1} at step {step}: the loss is nan" in str(stopped.value)
    assert len(seen.indices) == step
    names = lab.data().manifest.names
    shown = [names[index] for index in seen.indices[-1]]
    assert f"of {shown[0]}, {shown[1]}, {shown[2]} and 5 more" in str(stopped.value)
    found = json.loads((lab.folder / "run" / "diverged.json").read_text())
    assert (found["step"], found["found"], found["files"]) == (step, "the loss is nan", shown)
    kept = sorted(path.name for path in (lab.folder / "run" / "checkpoints").glob("*"))
    assert kept == ([] if step <= EPOCH else ["best.ckpt", "last.ckpt"])
    assert all(finite(lab.folder / "run" / "checkpoints" / name) for name in kept)
    assert ("last.ckpt" in str(stopped.value)) == bool(kept)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_gradient_that_is_no_number_ends_the_run_at_its_step(lab: Lab, value: float) -> None:
    with pytest.raises(DivergenceError, match=r"epoch 2 at step 9: the norm of the gradients is (nan|inf)"):
        fit(lab, lab.model(), Spoil("gradient", 9, value))
    assert finite(lab.folder / "run" / "checkpoints" / "last.ckpt")


def test_steps_that_a_scaler_skips_end_the_run_when_25_in_a_row_are(lab: Lab) -> None:
    with pytest.raises(DivergenceError, match=r"at step 34: the 25th step in a row, the norm"):
        fit(lab, lab.model(), Spoil("gradient", 10), plugins=[Scaled()], max_epochs=8)
    assert finite(lab.folder / "run" / "checkpoints" / "last.ckpt")


def test_a_few_steps_that_a_scaler_skips_are_not_taken_for_divergence(lab: Lab) -> None:
    class Some(Spoil):
        def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
            if self.steps % 3:
                super().on_after_backward(trainer, pl_module)

    trainer = fit(lab, lab.model(), Some("gradient", 1), plugins=[Scaled()], max_epochs=6)
    assert trainer.global_step == 6 * EPOCH


def test_a_loss_that_is_no_number_ends_a_run_with_a_scaler_at_once(lab: Lab) -> None:
    with pytest.raises(DivergenceError, match="at step 2: the loss is nan"):
        fit(lab, spoiled(lab, 2), plugins=[Scaled()])


@pytest.mark.parametrize("ema", [0.0, 0.9])
@pytest.mark.parametrize("step", [8, 2 * EPOCH])
def test_weights_that_are_no_numbers_are_never_saved(lab: Lab, step: int, ema: float) -> None:
    with pytest.raises(DivergenceError):
        fit(lab, lab.model(), Spoil("weight", step), ema=ema)
    checkpoints = lab.folder / "run" / "checkpoints"
    assert finite(checkpoints / "last.ckpt")
    assert finite(checkpoints / "best.ckpt")
    assert torch.load(checkpoints / "last.ckpt", weights_only=True)["epoch"] == 0
    assert [path.name for path in checkpoints.glob(".*")] == []


@pytest.mark.parametrize("step", [4, 3 * EPOCH])
def test_a_gpu_is_asked_after_several_steps_and_the_message_names_the_first(
    lab: Lab, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(divergence, "READ_AT_ONCE", "none")  # as on a GPU
    seen = Batches()
    with pytest.raises(DivergenceError, match=f"at step {step}: the loss is nan") as stopped:
        fit(lab, spoiled(lab, step), seen)
    assert step <= len(seen.indices) <= step + 10
    assert lab.data().manifest.names[seen.indices[step - 1][0]] in str(stopped.value)


def test_an_accumulated_loss_that_is_no_number_ends_the_run_at_its_batch(lab: Lab) -> None:
    seen = Batches()
    with pytest.raises(DivergenceError, match="epoch 2 at step 4: the loss is nan"):
        fit(lab, spoiled(lab, 4), seen, accumulate_grad_batches=2)
    assert len(seen.indices) == 7


def test_an_infinite_image_of_another_loader_ends_the_run(lab: Lab) -> None:
    images = torch.randn(16, 3, 32, 32)
    images[11, 0, 4, 4] = math.inf
    loader = torch.utils.data.DataLoader(list(zip(images, torch.arange(16) % 3, strict=True)), batch_size=8)
    trainer = lab.trainer(callbacks=[EMA(0.9), RunCheckpoint(), Divergence()], limit_val_batches=0)
    with pytest.raises(DivergenceError, match=r"epoch 1 at step 2: the loss is nan, of batch 1"):
        trainer.fit(lab.model(), loader)


@pytest.mark.usefixtures("in_an_empty_folder")
def test_a_learning_rate_that_is_too_high_is_one_line_and_status_1(
    faces: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    error = fails(
        capsys, 1, "fit", "--data.root", str(faces), *TINY, *QUIET,
        *("--model.lr_classifier", "1e30", "--model.lr_backbone", "1e30", "--trainer.max_epochs", "30"),
    )  # fmt: skip
    assert error.count("\n") == 1
    for advised in ("--model.lr_classifier", "--model.lr_backbone"):
        assert advised in error
    assert not (RUN / "checkpoints" / "best.ckpt").exists() or finite(RUN / "checkpoints" / "best.ckpt")
    assert (RUN / "config.yaml").is_file()


def spoil_checkpoint(path: Path, key: str) -> None:
    saved = torch.load(path, weights_only=True)
    saved[key][next(reversed(saved[key]))].view(-1)[0] = math.nan
    torch.save(saved, path)


@pytest.mark.usefixtures("in_an_empty_folder")
@pytest.mark.parametrize(("command", "key"), [("fit", "raw_state_dict"), ("fit", "state_dict"), ("test", "state_dict")])
def test_a_checkpoint_with_weights_that_are_no_numbers_is_refused(
    trained: Path, capsys: pytest.CaptureFixture[str], command: str, key: str
) -> None:
    path = trained / "epoch_001.ckpt"
    spoil_checkpoint(path, key)
    error = fails(capsys, 1, command, "--ckpt_path", str(path))
    assert "weights are not finite (classifier." in error


@pytest.mark.usefixtures("in_an_empty_folder")
def test_a_weights_file_with_weights_that_are_no_numbers_is_refused(lab: Lab) -> None:
    weights = {name: value.clone() for name, value in lab.model().backbone.body.state_dict().items()}
    next(iter(weights.values())).fill_(math.inf)
    torch.save(weights, "weights.pth")
    with pytest.raises(DataError, match=r"weights\.pth: its weights are not finite"):
        lab.model(pretrained="weights.pth")
