import pytest
import torch
import torch.nn.functional as F

from emotion_lightning.model.mix import MixedLabels, MixUpCutMix


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(7, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def labels() -> torch.Tensor:
    return torch.arange(7) % 3


@pytest.mark.parametrize("alphas", [(0.3, 0.0), (0.0, 1.0)])
def test_inputs_stay_as_they_are(images: torch.Tensor, labels: torch.Tensor, alphas: tuple[float, float]) -> None:
    before = images.clone()
    mixed, _ = MixUpCutMix(*alphas, prob=1.0)(images, labels, seed=3)
    assert torch.equal(images, before)
    assert not torch.equal(mixed, before)


def test_mixup_weighs_each_image_with_its_partner(images: torch.Tensor, labels: torch.Tensor) -> None:
    for seed in range(10):
        mixed, targets = MixUpCutMix(1.0, 0.0, prob=1.0)(images, labels, seed)
        found = [
            any(
                torch.allclose(mixed[i], targets.lam * images[i] + (1 - targets.lam) * images[j], atol=1e-6)
                and targets.labels_b[i] == labels[j]
                for j in range(len(images))
            )
            for i in range(len(images))
        ]
        assert all(found)


def test_cutmix_weight_is_the_share_of_pixels_kept(labels: torch.Tensor) -> None:
    images = torch.arange(7.0).view(7, 1, 1, 1).expand(7, 3, 20, 20).contiguous()
    for seed in range(30):
        mixed, targets = MixUpCutMix(0.0, 1.0, prob=1.0)(images, labels, seed)
        for i in range(7):
            foreign = mixed[i][mixed[i] != i]
            if len(foreign):
                assert foreign.numel() / mixed[i].numel() == pytest.approx(1 - targets.lam)
                assert targets.labels_b[i] == labels[int(foreign[0])]


def test_shares_of_none_mixup_and_cutmix(images: torch.Tensor, labels: torch.Tensor) -> None:
    kinds = {"none": 0, "mixup": 0, "cutmix": 0}
    for seed in range(1000):
        mixed, _ = MixUpCutMix(0.3, 1.0, prob=0.8)(images, labels, seed)
        if mixed is images:
            kinds["none"] += 1
        else:  # CutMix leaves every pixel as it was in one of the images
            pixels = (mixed[0, 0].flatten()[:, None] == images[:, 0].flatten(1).T).any(dim=1)
            kinds["cutmix" if pixels.all() else "mixup"] += 1
    assert kinds["none"] == pytest.approx(200, abs=40)
    assert kinds["mixup"] == pytest.approx(400, abs=60)


def test_same_seed_same_mix(images: torch.Tensor, labels: torch.Tensor) -> None:
    mix = MixUpCutMix(0.3, 1.0, prob=1.0)
    first, second, other = mix(images, labels, 1), mix(images, labels, 1), mix(images, labels, 2)
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1].labels_b, second[1].labels_b)
    assert not torch.equal(first[0], other[0])


def test_nothing_is_drawn_from_the_global_generator(images: torch.Tensor, labels: torch.Tensor) -> None:
    state = torch.get_rng_state()
    MixUpCutMix(0.3, 1.0, prob=1.0)(images, labels, 1)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_loss_equals_cross_entropy_with_soft_targets(smoothing: float) -> None:
    logits = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    labels, partners, weight = torch.tensor([0, 1, 2, 3, 0]), torch.tensor([1, 1, 3, 0, 2]), 0.3
    soft = weight * F.one_hot(labels, 4) + (1 - weight) * F.one_hot(partners, 4)
    expected = F.cross_entropy(logits, soft.float(), reduction="none", label_smoothing=smoothing)
    torch.testing.assert_close(MixedLabels(labels, partners, weight).cross_entropy(logits, smoothing), expected)


def test_dominant_label_is_the_one_with_more_weight() -> None:
    labels, partners = torch.tensor([0, 1]), torch.tensor([2, 2])
    assert MixedLabels(labels, partners, 0.7).dominant is labels
    assert MixedLabels(labels, partners, 0.3).dominant is partners
