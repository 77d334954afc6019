import math

import pytest
import torch
from sklearn.metrics import f1_score

from emotion_lightning.evaluation.intervals import share_interval
from emotion_lightning.evaluation.metrics import compute_metrics, logged_metrics, selective_metrics
from emotion_lightning.evaluation.outputs import EvalOutputs
from emotion_lightning.evaluation.selective import Threshold

NAMES = ("angry", "happy", "sad")


def outputs(labels: torch.Tensor, predicted: torch.Tensor) -> EvalOutputs:
    logits = 5.0 * torch.nn.functional.one_hot(predicted, len(NAMES)).double()
    return EvalOutputs(logits, labels, torch.arange(len(labels)))


def test_a_subset_is_averaged_over_the_classes_that_it_has() -> None:
    labels = torch.arange(40) % 2  # nobody is sad
    right = compute_metrics(outputs(labels, labels), NAMES, subset=True)
    assert (right["accuracy"], right["f1_macro"], right["classes"]) == (1, 1, 2)
    assert right["intervals"]["f1_macro"] == (1, 1)
    predicted = labels.clone()
    predicted[:10] = 2  # a class that the subset does not have may still be predicted
    found = compute_metrics(outputs(labels, predicted), NAMES, subset=True)
    assert found["f1_macro"] == pytest.approx(f1_score(labels, predicted, labels=[0, 1], average="macro"))
    low, high = found["intervals"]["f1_macro"]
    assert low < found["f1_macro"] < high


def test_a_whole_split_is_averaged_over_all_classes_as_scikit_learn_does() -> None:
    labels, predicted = torch.arange(40) % 2, torch.arange(40) % 3
    found = compute_metrics(outputs(labels, predicted), NAMES)
    assert found["f1_macro"] == pytest.approx(f1_score(labels, predicted, average="macro", zero_division=0))
    assert found["f1_weighted"] == pytest.approx(f1_score(labels, predicted, average="weighted", zero_division=0))
    lacking = compute_metrics(outputs(labels, labels), NAMES)
    assert lacking["f1_macro"] == pytest.approx(
        f1_score(labels, labels, labels=[0, 1, 2], average="macro", zero_division=0)
    )
    assert lacking["classes"] == 3
    assert (lacking["f1_macro"], lacking["f1_macro_present"]) == (pytest.approx(2 / 3), 1)
    assert logged_metrics(outputs(labels, labels).confusion, 0.5, NAMES, "val")["val/f1_macro_present"] == 1
    assert "val/f1_macro_present" not in logged_metrics(outputs(predicted, predicted).confusion, 0.5, NAMES, "val")


def test_a_threshold_is_one_of_calibrated_probabilities() -> None:
    probabilities = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]], dtype=torch.double)
    found = EvalOutputs(2 * probabilities.log(), torch.tensor([0, 1, 0, 0]), torch.arange(4))
    measured = selective_metrics(found, 2.0, Threshold(0.65, 0.9, 0.5))
    assert (measured["threshold"], measured["answers"], measured["coverage"]) == (0.65, 3, 0.75)
    assert measured["precision"] == 2 / 3
    assert measured["intervals"] == {"coverage": share_interval(3, 4), "precision": share_interval(2, 3)}
    assert measured["aurc"] == pytest.approx((0 + 1 / 2 + 1 / 3 + 1 / 4) / 4)
    assert measured["aurc_random"] == 0.25
    assert measured["aurc_oracle"] == pytest.approx(1 / 16)
    assert selective_metrics(found, 1.0, Threshold(0.65, 0.9, 0.5))["answers"] == 4  # they are surer as they are


def test_without_a_threshold_or_above_every_answer_there_is_no_precision() -> None:
    found = outputs(torch.tensor([0, 1]), torch.tensor([0, 1]))
    assert selective_metrics(found, 1.0, None) == {"aurc": 0, "aurc_random": 0, "aurc_oracle": 0, "threshold": None}
    silent = selective_metrics(found, 1.0, Threshold(1.0, 0.9, 0.5))
    assert (silent["answers"], silent["coverage"]) == (0, 0)
    assert math.isnan(silent["precision"])
