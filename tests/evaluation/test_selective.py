import math
import random
from itertools import permutations

import pytest
import torch
from torch import Tensor

from emotion_lightning.evaluation.selective import (
    Threshold,
    choose_threshold,
    fewest_answers,
    risk_coverage,
    risk_coverage_of,
)


def answers(*groups: tuple[float, int, int]) -> tuple[Tensor, Tensor]:
    """Probabilities of two classes and labels: of each group its confidence, its images and how many are right."""
    rows = [([p, 1 - p], int(k >= hits)) for p, images, hits in groups for k in range(images)]
    random.Random(0).shuffle(rows)
    return torch.tensor([row for row, _ in rows], dtype=torch.double), torch.tensor([label for _, label in rows])


def naive_aurc(ranked: list[bool]) -> float:
    """Mean over k of the errors among the first k, counted one by one."""
    risks = [sum(not right for right in ranked[:k]) / k for k in range(1, len(ranked) + 1)]
    return sum(risks) / len(risks)


def test_the_area_is_that_of_counting_one_answer_after_the_other() -> None:
    confidence = torch.rand(200, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    right = torch.rand(200, generator=torch.Generator().manual_seed(1), dtype=torch.double) < confidence
    ranked = [bool(right[index]) for index in sorted(range(200), key=lambda index: -confidence[index].item())]
    found = risk_coverage(confidence, right)
    assert found.aurc == pytest.approx(naive_aurc(ranked), abs=1e-12)
    for k in (1, 7, 100, 200):
        assert found.risk[k - 1].item() == pytest.approx(1 - sum(ranked[:k]) / k)
        assert found.coverage[k - 1].item() == pytest.approx(k / 200)


def test_equally_sure_answers_count_as_the_mean_of_all_their_orders() -> None:
    right = torch.tensor([True, False, True, False, True])
    tied = torch.tensor([0.9, 0.6, 0.6, 0.6, 0.3], dtype=torch.double)
    expected = [naive_aurc([True, *map(bool, middle), True]) for middle in permutations([False, True, False])]
    for order in permutations(range(5)):
        found = risk_coverage(tied[list(order)], right[list(order)])
        assert found.answers.tolist() == [1, 4, 5]
        assert found.hits.tolist() == [1, 2, 3]
        assert found.aurc == pytest.approx(sum(expected) / len(expected), abs=1e-12)


def test_a_random_order_has_the_risk_of_all_answers_and_no_order_less_than_the_best() -> None:
    right = torch.arange(100) % 4 > 0  # a quarter is wrong
    generator = torch.Generator().manual_seed(0)
    drawn = [risk_coverage(torch.rand(100, generator=generator), right).aurc for _ in range(400)]
    constant, best = risk_coverage(torch.full((100,), 0.5), right).aurc, risk_coverage(right.double(), right).aurc
    assert constant == pytest.approx(0.25)
    assert sum(drawn) / len(drawn) == pytest.approx(constant, abs=0.01)
    assert best == pytest.approx(naive_aurc([True] * 75 + [False] * 25))
    assert best == pytest.approx(0.25 + 0.75 * math.log(0.75), abs=0.005)  # as Geifman et al. have it for many images
    assert best < min(drawn)


def test_confidence_is_the_largest_probability() -> None:
    probabilities = torch.tensor([[0.2, 0.8], [0.6, 0.4], [math.nan, math.nan]], dtype=torch.double)
    found = risk_coverage_of(probabilities, torch.tensor([1, 1, 0]))
    assert found.confidence.tolist() == [0.8, 0.6, 0.0]  # without numbers it is the least sure, and wrong
    assert found.hits.tolist() == [1, 1, 1]


def test_the_threshold_keeps_most_images_at_the_precision() -> None:
    given = answers((0.9, 40, 36), (0.8, 40, 32), (0.7, 20, 18), (0.6, 100, 20))
    # precision 0.9 at 40 images, 0.85 at 80, 0.86 at 100, 0.53 at 200
    assert choose_threshold(*given, 0.9) == Threshold(pytest.approx(0.85), 0.9, 0.2)
    assert choose_threshold(*given, 0.86) == Threshold(pytest.approx(0.65), 0.86, 0.5)  # though it is less at 80
    assert choose_threshold(*given, 0.5) == Threshold(pytest.approx(0.3), 0.53, 1.0)  # all of them
    assert choose_threshold(*given, 0.91) is None


def test_a_few_right_answers_at_the_top_are_no_precision() -> None:
    assert [fewest_answers(precision) for precision in (0.5, 0.8, 0.9, 0.99)] == [6, 15, 30, 300]
    lucky = answers((0.99, 29, 29), (0.6, 200, 20))
    assert choose_threshold(*lucky, 0.9) is None
    enough = choose_threshold(*answers((0.99, 30, 30), (0.6, 200, 20)), 0.9)
    assert enough is not None
    assert enough.coverage == 30 / 230


def test_equally_sure_answers_are_kept_or_left_out_together() -> None:
    probabilities, labels = answers((0.9, 100, 100), (0.7, 100, 80))
    assert choose_threshold(probabilities, labels, 0.95) == Threshold(pytest.approx(0.8), 1.0, 0.5)
    assert choose_threshold(probabilities, labels, 0.9) == Threshold(pytest.approx(0.35), 0.9, 1.0)


def test_rounding_to_float32_changes_no_answer() -> None:
    probabilities = torch.randn(2000, 7, generator=torch.Generator().manual_seed(0), dtype=torch.double).softmax(1)
    drawn = torch.multinomial(probabilities, 1, generator=torch.Generator().manual_seed(1)).squeeze(1)
    right = probabilities.argmax(dim=1) == drawn
    for precision in torch.linspace(0.45, 0.65, 20).tolist():
        found = choose_threshold(probabilities, drawn, precision)
        assert found is not None
        answered = probabilities.float().double().amax(dim=1) >= found.probability
        assert answered.double().mean().item() == found.coverage < 1
        assert right[answered].double().mean().item() == found.precision >= precision


def test_without_images_nothing_is_chosen() -> None:
    nothing = torch.empty(0, 3, dtype=torch.double), torch.empty(0, dtype=torch.long)
    assert choose_threshold(*nothing, 0.9) is None
    assert math.isnan(risk_coverage_of(*nothing).aurc)
