import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from sklearn.metrics import f1_score

from emotion_lightning.evaluation.confusion import overall_metrics
from emotion_lightning.evaluation.intervals import (
    bootstrap_intervals,
    class_f1_intervals,
    paired_intervals,
    rate_interval,
    share_interval,
)
from emotion_lightning.evaluation.outputs import EvalOutputs, by_subject

CELLS = np.array([[0.30, 0.05, 0.05], [0.06, 0.20, 0.04], [0.05, 0.05, 0.20]])
"""How often each pair of true and predicted class comes in truth."""


def draw(rng: np.random.Generator, images: int) -> torch.Tensor:
    return torch.from_numpy(rng.multinomial(images, CELLS.flatten())).view(3, 3)


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    truth = {name: value.item() for name, value in overall_metrics(torch.from_numpy(CELLS) * 1e6).items()}
    rng, trials = np.random.default_rng(0), 500
    covered = dict.fromkeys(truth, 0)
    for seed in range(trials):
        for name, (low, high) in bootstrap_intervals(draw(rng, 600), seed=seed).items():
            covered[name] += low <= truth[name] <= high
    assert all(0.92 <= count / trials <= 0.98 for count in covered.values()), covered


def test_they_are_those_of_drawing_the_images_anew() -> None:
    confusion = draw(np.random.default_rng(1), 400)
    true = np.repeat(np.arange(3), confusion.sum(dim=1))
    predicted = np.concatenate([np.repeat(np.arange(3), row) for row in confusion.numpy()])
    rng = np.random.default_rng(2)
    scores = []
    for _ in range(1000):
        chosen = rng.integers(0, 400, 400)
        scores.append(f1_score(true[chosen], predicted[chosen], average="macro"))
    expected = np.quantile(scores, [0.025, 0.975])
    assert bootstrap_intervals(confusion)["f1_macro"] == pytest.approx(tuple(expected), abs=0.006)


def test_the_same_figures_have_the_same_intervals_and_more_images_narrower_ones() -> None:
    confusion = draw(np.random.default_rng(3), 300)
    assert bootstrap_intervals(confusion) == bootstrap_intervals(confusion)
    narrow, wide = bootstrap_intervals(confusion * 100)["accuracy"], bootstrap_intervals(confusion)["accuracy"]
    assert narrow[1] - narrow[0] < (wide[1] - wide[0]) / 5
    perfect = bootstrap_intervals(torch.eye(3, dtype=torch.long) * 10)
    assert perfect["accuracy"] == (1.0, 1.0)


def test_paired_intervals_know_that_both_models_saw_the_same_images() -> None:
    labels = torch.arange(400) % 2
    ours = torch.where(torch.arange(400) < 300, labels, 1 - labels)
    theirs = torch.where(torch.arange(400) < 290, labels, 1 - labels)  # wrong wherever ours is, and on ten more
    low, high = paired_intervals(labels, ours, theirs, 2)["accuracy"]
    assert 0 < low < 10 / 400 < high < 0.045  # apart, either accuracy would be uncertain by 0.04
    same = paired_intervals(labels, ours, ours, 2)
    assert all(interval == (0, 0) for interval in same.values())


@pytest.mark.parametrize(("hits", "images"), [(0, 1), (9, 10), (30, 30), (0, 30), (3200, 3589)])
def test_the_interval_of_a_share_is_that_of_scipy(hits: int, images: int) -> None:
    expected = binomtest(hits, images).proportion_ci(method="wilson")
    assert share_interval(hits, images) == pytest.approx(tuple(expected), abs=1e-12)


def test_nothing_is_known_of_a_share_without_images() -> None:
    assert share_interval(0, 0) == (0, 1)


def test_a_class_has_the_interval_that_its_images_allow() -> None:
    confusion = torch.tensor([[90, 10], [1, 4]])
    often, seldom = class_f1_intervals(confusion)
    assert often[0] < 2 * 90 / (100 + 91) < often[1] < 1
    assert seldom[0] < 2 * 4 / (5 + 14) < seldom[1]
    assert seldom[1] - seldom[0] > 5 * (often[1] - often[0])
    assert class_f1_intervals(torch.tensor([[5, 0], [0, 0]])) == [(1, 1), (0, 0)]  # no image is of the second


def of_people(rng: np.random.Generator, people: int, images: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Labels, answers and subjects of people who are recognized more or less often, 0.6 in the mean."""
    subjects = torch.arange(people).repeat_interleave(images)
    right = torch.from_numpy(rng.random(people * images) < np.repeat(rng.beta(1.5, 1, people), images))
    labels = torch.arange(people * images) % 2
    return labels, labels.where(right, 1 - labels), subjects


def test_intervals_of_subjects_cover_the_truth_where_those_of_images_are_too_narrow() -> None:
    rng, trials, covered = np.random.default_rng(0), 200, {"subjects": 0, "images": 0, "Wilson": 0}
    for seed in range(trials):
        labels, predicted, subjects = of_people(rng, 40, 15)
        outputs = EvalOutputs(torch.nn.functional.one_hot(predicted, 2).double(), labels, labels, subjects)
        for name, confusion in (("subjects", outputs.confusions), ("images", outputs.confusion)):
            low, high = bootstrap_intervals(confusion, seed=seed)["accuracy"]
            covered[name] += low <= 0.6 <= high
        images = by_subject(torch.zeros_like(subjects), subjects, 1)[:, 0]
        low, high = rate_interval(outputs.confusions.diagonal(dim1=1, dim2=2).sum(dim=1), images)
        covered["Wilson"] += low <= 0.6 <= high
    assert min(covered["subjects"], covered["Wilson"]) >= 0.9 * trials, covered
    assert covered["images"] <= 0.75 * trials, covered


def test_a_subject_for_each_image_changes_nothing() -> None:
    labels, predicted, _ = of_people(np.random.default_rng(1), 40, 5)
    alone = EvalOutputs(torch.nn.functional.one_hot(predicted, 2).double(), labels, labels, torch.arange(200))
    (low, high), (other_low, other_high) = (
        bootstrap_intervals(confusion)["accuracy"] for confusion in (alone.confusion, alone.confusions)
    )
    assert (low, high) == pytest.approx((other_low, other_high), abs=0.01)


def test_a_share_of_subjects_who_are_alike_has_as_many_images_as_subjects() -> None:
    images = torch.full((10,), 20)
    all_or_none = 20 * (torch.arange(10) < 6).long()
    low, high = rate_interval(all_or_none, images)
    assert (low, high) == pytest.approx(share_interval(0.6 * 9, 9), abs=1e-6)  # one degree of freedom less
    assert rate_interval(images, images) == share_interval(10, 10)  # all hits say nothing of how subjects differ
    assert rate_interval(torch.full((10,), 12), images) == pytest.approx(share_interval(120, 200))


def test_paired_intervals_draw_subjects_too() -> None:
    labels, ours, subjects = of_people(np.random.default_rng(2), 30, 20)
    theirs = ours.where(subjects >= 6, 1 - labels)  # worse for six people
    (low, high), (narrow_low, narrow_high) = (
        paired_intervals(labels, ours, theirs, 2, drawn)["accuracy"] for drawn in (subjects, None)
    )
    assert high - low > 1.5 * (narrow_high - narrow_low)
