import math

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


@pytest.mark.parametrize("alpha", [0.3, 1.0, 4.0])
def test_mixups_weight_is_drawn_from_the_beta_distribution_of_its_alpha(labels: torch.Tensor, alpha: float) -> None:
    mix = MixUpCutMix(alpha, 0.0, prob=1.0)
    lams = torch.tensor([mix(torch.zeros(7, 3, 2, 2), labels, seed)[1].lam for seed in range(3000)])
    assert lams.mean().item() == pytest.approx(0.5, abs=0.02)
    assert lams.var().item() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.08)


def test_cutmixs_weight_is_drawn_from_the_beta_distribution_of_its_alpha(labels: torch.Tensor) -> None:
    means = []
    for alpha in (0.3, 1.0, 30.0):
        mix = MixUpCutMix(0.0, alpha, prob=1.0)
        lams = torch.tensor([mix(torch.zeros(7, 3, 40, 40), labels, seed)[1].lam for seed in range(1000)])
        means.append((lams > 0.95).float().mean().item())  # hardly anything was replaced
    assert means[0] > 1.5 * means[1] > 0.01
    assert means[2] == 0


def test_cutmixs_box_has_the_area_that_it_replaces_and_is_cut_at_the_border(labels: torch.Tensor) -> None:
    images = torch.arange(7.0).view(7, 1, 1, 1).expand(7, 3, 100, 100).contiguous()
    sides, centers = [], []
    for seed in range(60):
        mixed, _ = MixUpCutMix(0.0, 1e9, prob=1.0)(images, labels, seed)  # always half of the image
        changed = next(foreign for i in range(7) if (foreign := mixed[i, 0] != i).any())
        rows, columns = changed.any(dim=1), changed.any(dim=0)
        sides += [int(rows.sum()), int(columns.sum())]
        centers.append((int(rows.nonzero()[0]), int(columns.nonzero()[0])))
    assert max(sides) == 70  # the root of a half
    assert min(sides) < 50  # centers lie anywhere, also at the border
    assert len(set(centers)) > 30


def test_an_order_of_its_own_gives_every_image_its_partner(labels: torch.Tensor) -> None:
    images = torch.arange(7.0).view(7, 1, 1, 1).expand(7, 3, 4, 4).contiguous()
    partners = set()
    for seed in range(30):
        mixed, targets = MixUpCutMix(0.3, 0.0, prob=1.0)(images, torch.arange(7), seed)
        assert sorted(targets.labels_b.tolist()) == list(range(7))
        torch.testing.assert_close(
            mixed[:, 0, 0, 0], targets.lam * torch.arange(7) + (1 - targets.lam) * targets.labels_b
        )
        partners.add(tuple(targets.labels_b.tolist()))
    assert len(partners) > 25


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


@pytest.mark.parametrize("lam", [1.0, 0.7, 0.2])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_votes_count_by_their_shares_mixed_and_smoothed(lam: float, smoothing: float) -> None:
    votes, partners = [[6, 4, 0, 0], [0, 2, 0, 0]], [[0, 1, 1, 2], [0, 0, 9, 0]]
    logits = torch.randn(2, 4, generator=torch.Generator().manual_seed(0))
    expected = []
    for row, (ours, theirs) in enumerate(zip(votes, partners, strict=True)):
        target = [lam * a / sum(ours) + (1 - lam) * b / sum(theirs) for a, b in zip(ours, theirs, strict=True)]
        smooth = [(1 - smoothing) * share + smoothing / 4 for share in target]
        logs = [math.log(math.exp(z) / sum(map(math.exp, logits[row].tolist()))) for z in logits[row].tolist()]
        expected.append(-sum(share * log for share, log in zip(smooth, logs, strict=True)))
    targets = MixedLabels(torch.tensor(votes), torch.tensor(partners), lam)
    torch.testing.assert_close(targets.cross_entropy(logits, smoothing), torch.tensor(expected))
    assert targets.dominant.tolist() == ([0, 1] if lam >= 0.5 else [3, 2])


def test_shares_of_votes_are_exact_in_half_precision() -> None:
    logits, targets = torch.randn(1, 3), MixedLabels(votes := torch.tensor([[1, 2, 7]]), votes)
    before, usual = targets.cross_entropy(logits, 0.1), torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)  # as Lightning does in a step under bf16-true
    try:
        assert torch.equal(targets.cross_entropy(logits, 0.1), before)
    finally:
        torch.set_default_dtype(usual)
