"""Receiver operating characteristic and precision over recall, one class against all others, in float64.

torchmetrics divides counts in float32, whatever the type of the scores, and gives a class without images an area of 0.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Curves(NamedTuple):
    """Rates at every threshold, from the strictest on, each ``(thresholds + 1,)``; at the first nothing is predicted.

    ``recall`` is the true positive rate.
    """

    false_positive_rate: Tensor
    recall: Tensor
    precision: Tensor

    @property
    def roc_auc(self) -> float:
        """Area under the ROC curve: how often a positive scores above a negative; nan if either is missing."""
        return torch.trapezoid(self.recall, self.false_positive_rate).item()

    @property
    def average_precision(self) -> float:
        """Area under precision over recall, by steps; nan without a positive."""
        return (self.recall.diff() * self.precision[1:]).sum().item()


def curves(scores: Tensor, positive: Tensor) -> Curves:
    """Take each distinct score as a threshold.

    Args:
        scores: Score of each image ``(N,)``, higher where the class is more likely.
        positive: Which images are of the class, bool ``(N,)``.
    """
    thresholds, place = torch.unique(scores, return_inverse=True)

    def above(places: Tensor) -> Tensor:
        """Images at or above each threshold."""
        counts = places.bincount(minlength=len(thresholds)).flip(0).cumsum(0)
        return F.pad(counts, (1, 0)).double()

    hits, false_alarms = above(place[positive]), above(place[~positive])
    precision = hits / (hits + false_alarms)
    precision[0] = 1
    return Curves(false_alarms / false_alarms[-1], hits / hits[-1], precision)
