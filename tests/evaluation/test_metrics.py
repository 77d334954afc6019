import pytest
import torch
from sklearn.metrics import f1_score

from emotion_lightning.evaluation.metrics import compute_metrics, logged_metrics
from emotion_lightning.evaluation.outputs import EvalOutputs

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
