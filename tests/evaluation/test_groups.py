from collections.abc import Sequence

import pytest
import torch

from emotion_lightning.evaluation.groups import crossed, group_metrics
from emotion_lightning.evaluation.outputs import EvalOutputs

NAMES = ["a", "b", "c"]


def answers(right: torch.Tensor, subjects: torch.Tensor | None = None) -> EvalOutputs:
    """Answers to images of the three classes in turn, of which those of ``right`` are."""
    labels = torch.arange(len(right)) % 3
    predicted = labels.where(right, (labels + 1) % 3)
    logits = 2 * torch.nn.functional.one_hot(predicted, 3).double()
    return EvalOutputs(logits, labels, torch.arange(len(right)), subjects)


def measured(shares: Sequence[float], images: int, seed: int) -> dict[str, object]:
    """The gap of accuracy between groups in which such shares of the answers are right in truth."""
    generator = torch.Generator().manual_seed(seed)
    right = torch.rand(len(shares) * images, generator=generator) < torch.tensor(shares).repeat_interleave(images)
    values = [f"group {place // images}" for place in range(len(right))]
    found: dict[str, object] = group_metrics(answers(right), values, NAMES)["gaps"]["accuracy"]
    return found


def test_a_planted_gap_is_found_between_the_groups_that_have_it() -> None:
    found = measured([0.7, 0.7, 0.4, 0.7], 200, seed=0)
    assert found["worst"] == "group 2"
    low, high = found["interval"]
    assert 0.1 < low < 0.3 < high
    assert found["p"] < 0.01


@pytest.mark.slow
def test_of_groups_that_are_alike_the_best_and_the_worst_are_no_finding() -> None:
    # of eight groups the best and the worst differ by 0.15 in the mean: as two groups chosen before, most would count
    draws = [measured([0.6] * 8, 100, seed) for seed in range(100)]
    assert sum(draw["gap"] for draw in draws) / 100 > 0.12
    assert sum(draw["interval"][0] > 0 for draw in draws) <= 10
    assert sum(draw["p"] < 0.05 for draw in draws) <= 10
    assert sum(draw["p"] < 0.5 for draw in draws) >= 30  # and it is no test that never finds anything


def test_subjects_of_one_group_are_dealt_whole() -> None:
    """Twelve people, of whom six are always recognized: by images the groups differ beyond doubt, by people not."""
    right = torch.tensor([True] * 4 + [False] * 2 + [True] * 2 + [False] * 4).repeat_interleave(20)
    subjects, values = torch.arange(12).repeat_interleave(20), ["x"] * 120 + ["y"] * 120
    gap = group_metrics(answers(right, subjects), values, NAMES)["gaps"]["accuracy"]
    assert gap["dealt"] == "subjects"
    assert gap["gap"] == pytest.approx(1 / 3)
    assert gap["p"] > 0.1
    assert gap["interval"][0] < 0
    by_image = group_metrics(answers(right), values, NAMES)["gaps"]["accuracy"]
    assert by_image["p"] < 0.01
    assert by_image["interval"][0] > 0


def test_of_subjects_with_images_in_two_groups_each_is_dealt_among_its_own() -> None:
    """People are recognized or not, and a third of their images is of the other camera, which changes nothing."""
    right, subjects = torch.tensor([True, False] * 6).repeat_interleave(30), torch.arange(12).repeat_interleave(30)
    values = ["x" if place % 3 else "y" for place in range(360)]
    gap = group_metrics(answers(right, subjects), values, NAMES)["gaps"]["accuracy"]
    assert gap["dealt"] == "images of each subject"
    assert gap["gap"] == 0
    assert gap["p"] == 1


def test_small_groups_are_shown_and_not_compared() -> None:
    right = torch.ones(109, dtype=torch.bool)
    right[100:] = False
    found = group_metrics(answers(right), ["x"] * 50 + ["y"] * 50 + ["z"] * 8 + [None], NAMES)
    assert {name: each["few"] for name, each in found["groups"].items()} == {"x": False, "y": False, "z": True}
    assert found["groups"]["z"]["accuracy"] == 0
    assert found["unknown"] == 1
    assert found["gaps"]["accuracy"]["gap"] == 0
    few_people = group_metrics(answers(right, torch.arange(109) // 25), ["x"] * 100 + [None] * 9, NAMES)
    assert few_people["groups"]["x"]["few"]
    assert few_people["gaps"] == {}


def test_a_group_has_the_metrics_of_its_images() -> None:
    right = torch.arange(120) % 4 > 0
    found = group_metrics(answers(right), ["2"] * 60 + ["10"] * 60, NAMES)
    assert list(found["groups"]) == ["2", "10"]  # numbers by their size
    group = found["groups"]["2"]
    assert group["n"] == 60
    assert group["accuracy"] == pytest.approx(0.75)
    assert group["recall"]["a"]["support"] == 20
    confidence = 2.0 * torch.tensor([1.0, 0, 0])
    assert group["ece"] == pytest.approx(abs(confidence.softmax(0)[0].item() - 0.75), abs=1e-5)
    assert all(low <= group[key] <= high for key, (low, high) in group["intervals"].items() if key != "ece")


def test_two_columns_are_crossed_where_both_are_known() -> None:
    [(name, values)] = crossed({"age": ["old", "young", None], "sex": ["f", "m", "f"]})
    assert (name, values) == ("age x sex", ["old x f", "young x m", None])
