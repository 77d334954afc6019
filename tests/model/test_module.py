import json
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.plugins import MixedPrecision
from torch import nn

from emotion_lightning.errors import DataError, UsageError
from emotion_lightning.model.module import EmotionClassifier
from emotion_lightning.schedule import STAGES
from tests.helpers import Lab


def test_every_weight_is_in_one_named_group_from_step_0(lab: Lab) -> None:
    model, trainer = lab.model(), lab.trainer(max_epochs=1)
    trainer.fit(model, lab.data())
    groups = trainer.optimizers[0].param_groups
    assert tuple(group["name"] for group in groups) == STAGES
    grouped = sorted(id(parameter) for group in groups for parameter in group["params"])
    assert grouped == sorted(id(parameter) for parameter in model.parameters())


def test_logged_figures_are_those_of_scikit_learn(lab: Lab) -> None:
    from sklearn.metrics import accuracy_score, f1_score, log_loss, precision_recall_fscore_support

    model, data, trainer = lab.model(), lab.data(), lab.trainer()
    (logged,) = trainer.test(model, data, verbose=False)
    model.eval()
    batches = [data.on_after_batch_transfer(batch, 0) for batch in data.test_dataloader()]
    with torch.no_grad():
        probabilities = torch.cat([model(images).softmax(1) for images, _, _ in batches])
    labels = torch.cat([labels for _, labels, _ in batches])
    predicted = probabilities.argmax(1)
    assert logged["test/accuracy"] == pytest.approx(accuracy_score(labels, predicted))
    assert logged["test/loss"] == pytest.approx(log_loss(labels, probabilities.double()), rel=1e-5)
    for average in ("macro", "weighted"):
        expected = f1_score(labels, predicted, average=average, zero_division=0)
        assert logged[f"test/f1_{average}"] == pytest.approx(expected)
    rows = zip(
        ("precision", "recall", "f1"), precision_recall_fscore_support(labels, predicted, zero_division=0), strict=False
    )
    for figure, values in rows:
        for name, value in zip(model.class_names, values, strict=True):
            assert logged[f"test_per_class/{figure}_{name}"] == pytest.approx(value)


def test_every_mixed_image_counts_once_by_its_dominant_label(lab: Lab) -> None:
    model, trainer = lab.model(mix_prob=1.0), lab.trainer(max_epochs=1)
    trainer.fit(model, lab.data())
    confusion, _ = model.train_scores.compute()
    assert confusion.sum() == 48  # three classes of sixteen, batches of eight
    assert {"train/accuracy_dominant", "train/f1_macro_dominant", "train/f1_weighted_dominant"} <= set(
        trainer.callback_metrics
    )
    assert "train/accuracy" not in trainer.callback_metrics
    assert {f"lr/{stage}" for stage in STAGES} <= set(trainer.callback_metrics)


def test_restored_model_is_the_same_and_needs_no_weights_file(lab: Lab, tmp_path: Path) -> None:
    model, trainer = lab.model(), lab.trainer()
    model.hparams["pretrained"] = str(tmp_path / "no longer there.safetensors")
    trainer.strategy.connect(model)
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    restored = EmotionClassifier.load_from_checkpoint(tmp_path / "model.ckpt")
    assert restored.class_names == model.class_names
    assert all(torch.equal(value, restored.state_dict()[name]) for name, value in model.state_dict().items())


def test_checkpoint_holds_plain_types_only(lab: Lab) -> None:
    json.dumps(dict(lab.model().hparams))


@pytest.mark.parametrize("address", ["https://example.org/model.ckpt", "missing.ckpt"])
def test_addresses_and_missing_files_are_not_loaded(address: str) -> None:
    with pytest.raises(DataError, match=address):
        EmotionClassifier.load_from_checkpoint(address)


@pytest.mark.parametrize(
    "options",
    [{"dropout_rate": 1.0}, {"label_smoothing": -0.1}, {"mix_prob": 1.1}, {"lr_backbone": 0.0}, {"pct_start": 1.0}]
    + [{"mixup_alpha": -1.0}, {"class_names": ["one"]}, {"hidden_features": 0}],
)
def test_numbers_outside_their_range_are_refused(lab: Lab, options: dict[str, object]) -> None:
    (name,) = options
    with pytest.raises(UsageError, match="two classes" if name == "class_names" else name):
        lab.model(**options)


def test_weights_are_channels_last(lab: Lab) -> None:
    kernels = [p for p in lab.model().backbone.parameters() if p.ndim == 4 and p.shape[1] > 1 and p.shape[2] > 1]
    assert kernels
    assert all(kernel.is_contiguous(memory_format=torch.channels_last) for kernel in kernels)


@pytest.mark.parametrize("precision", ["bf16-true", "bf16-mixed", "64-true"])
@pytest.mark.parametrize("algorithm", ["norm", "value"])
def test_other_precisions_and_ways_to_clip_work(lab: Lab, precision: str, algorithm: str) -> None:
    trainer = lab.trainer(max_epochs=1, precision=precision, gradient_clip_algorithm=algorithm)
    trainer.fit(lab.model(), lab.data())
    assert trainer.global_step == 6


def test_clipping_bounds_the_step(lab: Lab) -> None:
    norms = []

    class Norms(Callback):
        def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> None:
            gradients = [p.grad for p in pl_module.parameters() if p.grad is not None]
            norms.append(torch.nn.utils.get_total_norm(gradients).item())

        def on_before_zero_grad(self, trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> None:
            gradients = [p.grad for p in pl_module.parameters() if p.grad is not None]
            if gradients:
                norms.append(torch.nn.utils.get_total_norm(gradients).item())

    lab.trainer(max_epochs=1, gradient_clip_val=0.01, callbacks=[Norms()]).fit(lab.model(), lab.data())
    assert max(norms) > 0.1
    assert min(norms) == pytest.approx(0.01, rel=0.01)


def test_the_gradient_norm_is_that_before_clipping_and_leaves_out_steps_that_overflowed(lab: Lab) -> None:
    model = lab.model()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    weight = next(model.parameters())
    for value in (3.0, float("inf"), 5.0, float("nan")):
        weight.grad = torch.zeros_like(weight)
        weight.grad[0, 0, 0, 0] = value
        model.configure_gradient_clipping(optimizer, 1.0, "norm")
        if value == 3.0:
            assert weight.grad.norm().item() == pytest.approx(1.0, abs=1e-5)
    assert model.gradient_norm.compute().item() == pytest.approx(4.0)
    weight.grad = torch.full_like(weight, 9.0)
    model.configure_gradient_clipping(optimizer, 0.5, "value")
    assert weight.grad.max().item() == 0.5
    weight.grad = torch.full_like(weight, 9.0)
    model.configure_gradient_clipping(optimizer)
    assert weight.grad.max().item() == 9.0


class Scaled(MixedPrecision):
    """What a GPU does under 16-mixed, on a CPU: gradients are those of the loss times a scale."""

    def __init__(self, scale: float) -> None:
        super().__init__("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=10**6))

    def autocast_context_manager(self) -> torch.autocast:
        return torch.autocast("cpu", enabled=False)  # so that nothing but the scale is different


def flat(model: nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def test_gradients_are_clipped_without_the_scale_of_mixed_precision(lab: Lab) -> None:
    def weights_and_norm(**options: Any) -> tuple[torch.Tensor, float]:
        model = lab.model()
        trainer = lab.trainer(max_epochs=1, gradient_clip_val=0.05, callbacks=[], **options)
        trainer.fit(model, lab.data())
        assert trainer.optimizers[0].param_groups[0]["fused"]
        return flat(model), model.gradient_norm.compute().item()

    (plain, norm), (scaled, norm_of_scaled) = weights_and_norm(), weights_and_norm(plugins=[Scaled(1024.0)])
    assert norm > 0.1
    assert norm_of_scaled == pytest.approx(norm, rel=1e-4)
    torch.testing.assert_close(scaled, plain, rtol=1e-4, atol=1e-6)


def test_a_step_whose_gradients_overflowed_is_not_taken(lab: Lab) -> None:
    model, precision = lab.model(), Scaled(3e38)
    before = flat(model)
    trainer = lab.trainer(max_epochs=1, limit_train_batches=1, limit_val_batches=0, callbacks=[], plugins=[precision])
    trainer.fit(model, lab.data())
    assert precision.scaler is not None
    assert precision.scaler.get_scale() == pytest.approx(1.5e38)
    assert torch.equal(flat(model), before)
    assert model.gradient_norm.compute() == 0
