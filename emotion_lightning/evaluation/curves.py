"""Receiver operating characteristic and precision against recall, one class against all others."""

from typing import NamedTuple

import torch
from torch import Tensor


class Curves(NamedTuple):
    """Figures at every threshold between two different scores, from the strictest on, each ``(thresholds,)``.

    ``recall`` is the true positive rate. The first point is that at which nothing is predicted.
    """

    false_positive_rate: Tensor
    recall: Tensor
    precision: Tensor

    @property
    def roc_auc(self) -> float:
        """Area under the ROC curve: how often a positive scores above a negative; nan without one of them."""
        return torch.trapezoid(self.recall, self.false_positive_rate).item()

    @property
    def average_precision(self) -> float:
        """Area under precision over recall, by steps; nan without a positive."""
        return (self.recall.diff() * self.precision[1:]).sum().item()


def curves(scores: Tensor, positive: Tensor) -> Curves:
    """Walk down the thresholds.

    Args:
        scores: Score of each image ``(N,)``, higher where the class is more likely.
        positive: Which images are of the class, bool ``(N,)``.
    """
    order = scores.argsort(descending=True, stable=True)
    ranked, hits = scores[order], positive[order].double().cumsum(0)
    last = torch.cat([ranked.diff() != 0, torch.ones(min(1, len(ranked)), dtype=torch.bool)])  # of each tie
    hits, predicted = hits[last], torch.arange(1, len(ranked) + 1, dtype=torch.double)[last]
    zero = torch.zeros(1, dtype=torch.double)
    positives, total = positive.sum(), len(positive)
    return Curves(
        false_positive_rate=torch.cat([zero, (predicted - hits) / (total - positives)]),
        recall=torch.cat([zero, hits / positives]),
        precision=torch.cat([zero + 1, hits / predicted]),
    )
