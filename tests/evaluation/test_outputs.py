import math

import pytest
import torch

from emotion_lightning.batch import IGNORE_INDEX
from emotion_lightning.evaluation.examples import confident_mistakes, top_losses
from emotion_lightning.evaluation.metrics import compute_metrics
from emotion_lightning.evaluation.outputs import NO_CLASS, EvalOutputs, OutputCollector
from emotion_lightning.evaluation.running import ConfusionMetric

NUMBERS = [[2.0, 0.0, 1.0], [0.0, -math.inf, 1.0]]
"""Outputs that are answers; a probability of 0 is one."""


@pytest.mark.parametrize("broken", [[math.nan] * 3, [math.nan, 1.0, 0.0], [math.inf, 1.0, 0.0], [-math.inf] * 3])
def test_what_is_no_number_is_no_prediction(broken: list[float]) -> None:
    logits = torch.tensor([*NUMBERS, broken]).double()
    outputs = EvalOutputs(logits, torch.tensor([0, 1, 0]), torch.arange(3))
    assert outputs.predicted.tolist() == [0, 2, NO_CLASS]
    assert outputs.confusion.tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 0]]
    assert confident_mistakes(outputs, 3) == [1]
    assert sorted(top_losses(outputs, 3)) == [0, 1]
    found = compute_metrics(outputs, ["a", "b", "c"])
    assert all(math.isnan(found[name]) for name in ("loss", "accuracy", "f1_macro", "f1_weighted"))
    assert [values["support"] for values in found["per_class"].values()] == [2, 1, 0]
    assert math.isnan(found["per_class"]["a"]["recall"])


def test_training_counts_no_row_without_numbers() -> None:
    metric = ConfusionMetric(2)
    logits = torch.tensor([[1.0, 0.0], [math.nan, 0.0], [math.inf, 0.0]])
    metric.update(logits, torch.tensor([0, 0, 0]), torch.tensor([0.5, math.nan, math.inf]))
    confusion, loss = metric.compute()
    assert (confusion.tolist(), loss) == ([[1, 0], [0, 0]], 0.5)
    metric.reset()
    assert math.isnan(metric.compute()[1])


def test_padding_is_left_out_and_the_rest_is_in_the_datas_order() -> None:
    collector = OutputCollector()
    collector.update(torch.tensor([[3.0], [9.0], [1.0]]), torch.tensor([0, IGNORE_INDEX, 0]), torch.tensor([5, -1, 2]))
    found = collector.outputs()
    assert (found.logits.flatten().tolist(), found.indices.tolist()) == ([1.0, 3.0], [2, 5])
