import json
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.plugins import MixedPrecision
from torch import nn
from torch.nn import functional as F

from emotion_lightning.errors import DataError, UsageError
from emotion_lightning.evaluation.confusion import confusion_matrix
from emotion_lightning.model.module import EmotionClassifier
from emotion_lightning.schedule import STAGES
from tests.helpers import Lab


def test_every_weight_is_in_one_named_group_from_step_0(lab: Lab) -> None:
    model, trainer = lab.model(weight_decay=0.3, eps=1e-4, pct_start=0.5), lab.trainer(max_epochs=1)
    trainer.fit(model, lab.data())
    groups = trainer.optimizers[0].param_groups
    peaks = [1e-3] * 5 + [1e-2]
    assert [(group["max_lr"], group["weight_decay"], group["eps"]) for group in groups] == [
        (p, 0.3, 1e-4) for p in peaks
    ]
    assert trainer.lr_scheduler_configs[0].scheduler._schedule_phases[0]["end_step"] == 0.5 * 6 - 1
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


@pytest.mark.parametrize("what", ["epoch", "batch", "rank"])
def test_mixing_and_dropout_are_drawn_anew_for_each_epoch_batch_and_rank(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    model, place = lab.model(mix_prob=1.0, seed=7), {"epoch": 0, "batch": 0, "rank": 0}
    for name, key in (("current_epoch", "epoch"), ("global_rank", "rank")):
        monkeypatch.setattr(type(model), name, property(lambda _, key=key: place[key]))
    images, labels = torch.randn(8, 3, 8, 8), torch.arange(8)

    def drawn(value: int) -> tuple[torch.Tensor, torch.Tensor]:
        place[what] = value
        torch.manual_seed(value)  # whatever was drawn before does not count
        model.on_train_batch_start((images, labels), place["batch"])
        return model.mixed(images, labels, place["batch"])[1].labels_b, torch.rand(8)

    (mixed, dropped), again = drawn(0), drawn(0)
    assert torch.equal(mixed, again[0])
    assert torch.equal(dropped, again[1])
    others = [drawn(value) for value in (1, 2)]
    assert not any(torch.equal(mixed, other) for other, _ in others)
    assert not any(torch.equal(dropped, other) for _, other in others)
    assert not torch.equal(drawn(0)[0], lab.model(mix_prob=1.0, seed=8).mixed(images, labels, 0)[1].labels_b)


def test_a_classifier_that_is_frozen_neither_trains_nor_drops_nor_follows_the_batch(lab: Lab) -> None:
    model = lab.model().train()
    model.set_trainable(["layer4"])
    assert not any(module.training for module in model.classifier.modules())
    assert not any(parameter.requires_grad for parameter in model.classifier.parameters())
    model.set_trainable(["classifier"])
    assert all(module.training for module in model.classifier.modules())
    assert all(parameter.requires_grad for parameter in model.classifier.parameters())


def test_the_loss_of_votes_is_that_of_their_shares(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    model = lab.model(label_smoothing=0.2, mix_prob=1.0).eval()
    model.logit_adjustment.copy_(torch.tensor([-1.0, 0.0, 2.0]))
    monkeypatch.setattr(model, "log", lambda *args, **kwargs: None)
    images, votes = torch.randn(8, 3, 32, 32), torch.tensor([[6, 0, 4], [0, 12, 8], [5, 1, 4], [1, 0, 0]]).repeat(2, 1)
    number = next(number for number in range(99) if model.mixed(images, votes, number)[1].lam < 0.5)
    loss = model.training_step((images, votes, torch.arange(8)), number)
    mixed, targets = model.mixed(images, votes, number)
    ours, theirs = (found / found.sum(dim=1, keepdim=True) for found in (votes, targets.labels_b))
    shares = targets.lam * ours + (1 - targets.lam) * theirs
    logs = (model(mixed) + model.logit_adjustment).log_softmax(dim=1)
    torch.testing.assert_close(loss, -((0.8 * shares + 0.2 / 3) * logs).sum(dim=1).mean())
    majority = model.training_step((images, votes.argmax(dim=1), torch.arange(8)), number)
    assert (loss - majority).abs() > 0.05  # what training on the majority would have given


def test_the_loss_is_smoothed_mixed_and_adjusted_for_rare_classes(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    model = lab.model(label_smoothing=0.2, mix_prob=1.0)
    model.logit_adjustment.copy_(torch.tensor([-1.0, 0.0, 2.0]))
    monkeypatch.setattr(model, "log", lambda *args, **kwargs: None)
    images, labels = torch.randn(8, 3, 32, 32), torch.arange(8) % 3
    model.eval()
    number = next(number for number in range(99) if model.mixed(images, labels, number)[1].lam < 0.5)
    loss = model.training_step((images, labels, labels), number)
    mixed, targets = model.mixed(images, labels, number)
    soft = targets.lam * F.one_hot(labels, 3) + (1 - targets.lam) * F.one_hot(targets.labels_b, 3)
    expected = F.cross_entropy(model(mixed) + model.logit_adjustment, soft, label_smoothing=0.2)
    torch.testing.assert_close(loss, expected)
    answers = torch.arange(8) % 3  # an untrained network may give one answer to all, of which the order says nothing
    monkeypatch.setattr(model, "forward", lambda _: F.one_hot(answers, 3).float())
    model.train_scores.reset()
    model.training_step((images, labels, labels), number)
    assert torch.equal(model.train_scores.compute()[0], confusion_matrix(targets.dominant, answers, 3))
    assert not torch.equal(targets.dominant, labels)  # or this batch could not tell


def test_figures_of_an_epoch_are_of_its_images_alone(lab: Lab) -> None:
    model = lab.model()
    lab.trainer(max_epochs=2).fit(model, lab.data())
    assert model.train_scores.compute()[0].sum() == 48
    assert len(model.val_outputs.outputs().labels) == 18


def test_what_is_no_number_is_no_figure_and_no_best_checkpoint(lab: Lab) -> None:
    model, trainer = lab.model(), lab.trainer(max_epochs=1)
    torch.nn.init.constant_(model.classifier[-1].bias, float("nan"))
    trainer.fit(model, lab.data())
    for name in ("train/accuracy_dominant", "val/f1_macro", "val/accuracy", "val_per_class/recall_angry"):
        assert trainer.callback_metrics[name].isnan(), name
    assert trainer.checkpoint_callback.best_model_path == ""


def test_the_logged_learning_rate_is_that_of_the_step_that_was_taken(lab: Lab) -> None:
    class Taken(Callback):
        def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> None:
            self.rates = {f"lr/{group['name']}": group["lr"] for group in optimizer.param_groups}

        def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            self.logged = {name: trainer.callback_metrics[name].item() for name in self.rates}

    taken = Taken()
    lab.trainer(max_epochs=2, callbacks=[taken]).fit(lab.model(), lab.data())
    assert taken.logged == pytest.approx(taken.rates)


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


def test_the_model_can_be_exported_and_traced_and_says_that_it_cannot_be_compiled(lab: Lab) -> None:
    model = lab.model().train()
    model.set_trainable(["layer4"])
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    with pytest.raises(UsageError, match="method='trace'"):
        model.to_torchscript()
    traced = model.to_torchscript(method="trace", example_inputs=images)
    exported = torch.export.export(model.eval(), (images,)).module()
    for found in (traced(images), exported(images)):
        torch.testing.assert_close(found, model(images))


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
    model.gradient_norm.reset()
    assert model.gradient_norm.compute().isnan()  # no step was taken, which 0 would not say
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
    assert model.gradient_norm.compute().isnan()
