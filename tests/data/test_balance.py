from collections import Counter
from itertools import chain

import pytest
import torch

from emotion_lightning.data.dataset import BalancedSampler
from tests.helpers import Lab

LABELS = [0] * 900 + [1] * 90 + [2] * 10
IMAGES = list(range(1000))


def test_every_class_is_drawn_equally_often() -> None:
    drawn = Counter(LABELS[index] for index in BalancedSampler(IMAGES, 1, 0, 0, 1, LABELS))
    assert sum(drawn.values()) == 1000
    assert all(270 < drawn[label] < 400 for label in range(3))


def test_draws_depend_on_seed_and_epoch_alone_and_are_shared_by_the_ranks() -> None:
    whole = list(BalancedSampler(IMAGES, 1, 3, 0, 1, LABELS))
    told = BalancedSampler(IMAGES, 1, 0, 0, 1, LABELS)
    told.set_epoch(3)
    assert list(told) == whole
    assert whole != list(BalancedSampler(IMAGES, 1, 4, 0, 1, LABELS))
    parts = [list(BalancedSampler(IMAGES, 1, 3, rank, 2, LABELS)) for rank in range(2)]
    assert list(chain(*zip(*parts, strict=True))) == whole


def test_only_training_images_are_drawn() -> None:
    few = [5, 950, 995]
    assert set(BalancedSampler(few, 1, 0, 0, 1, LABELS)) <= set(few)


def test_the_loss_is_adjusted_by_the_training_frequencies_and_evaluation_is_not(lab: Lab) -> None:
    data, model, trainer = lab.data(balance="loss"), lab.model(), lab.trainer(max_epochs=1)
    trainer.fit(model, data)
    counts = data.manifest.counts("train")
    assert torch.allclose(model.logit_adjustment.exp(), torch.tensor(list(counts.values())) / sum(counts.values()))
    assert not any("logit_adjustment" in name for name in model.state_dict())

    images, labels = torch.randn(4, 3, 32, 32), torch.tensor([0, 1, 2, 0])
    model.eval()
    before = model(images)
    model.logit_adjustment.copy_(torch.tensor([0.0, -5.0, -9.0]))
    assert torch.equal(model(images), before)
    model.test_outputs.reset()
    model.test_step((images, labels, torch.arange(4)), 0)
    outputs = model.test_outputs.outputs()
    assert torch.equal(outputs.logits, before.double())
    assert outputs.losses.mean().item() == pytest.approx(torch.nn.functional.cross_entropy(before, labels).item())


def test_training_loss_uses_the_adjustment(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    model = lab.model(mix_prob=0.0, label_smoothing=0.0, dropout_rate=0.0).eval()
    monkeypatch.setattr(model, "log", lambda *args, **options: None)
    monkeypatch.setattr(type(model), "current_epoch", 0)
    monkeypatch.setattr(type(model), "global_rank", 0)
    images, labels = torch.randn(4, 3, 32, 32), torch.tensor([0, 1, 2, 0])
    adjustment = torch.tensor([0.0, -2.0, -4.0])
    model.logit_adjustment.copy_(adjustment)
    loss = model.training_step((images, labels, labels), 0)
    expected = torch.nn.functional.cross_entropy(model(images) + adjustment, labels)
    assert torch.allclose(loss, expected)


def test_the_data_module_draws_by_the_policy(lab: Lab) -> None:
    plain = list(lab.data().train_dataloader().sampler)
    balanced = list(lab.data(balance="sampler").train_dataloader().sampler)
    assert len(plain) == len(balanced)
    assert len(set(plain)) == len(plain)
    assert len(set(balanced)) < len(balanced)  # with replacement
