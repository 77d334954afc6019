from math import isnan

import pytest
import torch
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

from emotion_lightning.evaluation.curves import curves


@pytest.mark.parametrize("decimals", [1, 16])
def test_areas_and_points_are_those_of_scikit_learn(decimals: int) -> None:
    generator = torch.Generator().manual_seed(0)
    positive = torch.rand(400, generator=generator) < 0.2
    scores = (torch.randn(400, generator=generator, dtype=torch.double) + positive).round(decimals=decimals)  # ties
    found = curves(scores, positive)
    assert found.roc_auc == pytest.approx(roc_auc_score(positive, scores), abs=1e-9)
    assert found.average_precision == pytest.approx(average_precision_score(positive, scores), abs=1e-9)
    false_positive_rate, recall, _ = roc_curve(positive, scores, drop_intermediate=False)
    assert found.false_positive_rate.tolist() == pytest.approx(false_positive_rate.tolist())
    assert found.recall.tolist() == pytest.approx(recall.tolist())
    precision, recall, _ = precision_recall_curve(positive, scores)
    assert found.precision.tolist() == pytest.approx(precision[::-1].tolist())


def test_a_class_without_images_has_no_area() -> None:
    found = curves(torch.rand(5), torch.zeros(5, dtype=torch.bool))
    assert isnan(found.roc_auc)
    assert isnan(found.average_precision)
