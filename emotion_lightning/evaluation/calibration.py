"""How far probabilities can be believed, and one number that makes them more honest."""

from typing import NamedTuple

import torch
from torch import Tensor

BINS = 15
"""Bins of the confidence, as in Guo et al. (2017)."""

TEMPERATURES = (0.05, 20.0)
"""Least and largest temperature that is believed."""


class Reliability(NamedTuple):
    """Mean ``confidence`` and ``accuracy`` of each bin of the confidence, and its number of ``images``, ``(BINS,)``."""

    confidence: Tensor
    accuracy: Tensor
    images: Tensor

    @property
    def ece(self) -> float:
        """Expected calibration error (Naeini et al., 2015): mean gap of confidence and accuracy over the images."""
        gaps = (self.confidence - self.accuracy).abs() * self.images
        return (gaps.sum() / self.images.sum().clamp(min=1)).item()


def reliability(logits: Tensor, labels: Tensor, temperature: float = 1.0) -> Reliability:
    """Compare the confidence of predictions with how often they are right, in bins of equal width.

    Args:
        logits: ``(N, classes)``.
        labels: ``(N,)``.
        temperature: What the logits are divided by before.
    """
    where, confidence, right = bins_of(logits, labels, temperature)
    count = where.bincount(minlength=BINS)
    share = count.clamp(min=1)
    return Reliability(
        torch.zeros(BINS, dtype=torch.double).index_add_(0, where, confidence) / share,
        torch.zeros(BINS, dtype=torch.double).index_add_(0, where, right) / share,
        count,
    )


def bins_of(logits: Tensor, labels: Tensor, temperature: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    """Bin, confidence and rightness, 0 or 1, of each prediction, ``(N,)`` each; arguments as of :func:`reliability`."""
    confidence, predicted = (logits.double() / temperature).softmax(dim=1).max(dim=1)
    edges = torch.linspace(0, 1, BINS + 1, dtype=torch.double)
    return torch.bucketize(confidence, edges[1:-1], right=True), confidence, (predicted == labels).double()


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """Find the temperature (Guo et al., 2017) whose division makes ``labels`` most likely.

    The loss has one minimum over the inverse temperature, so halving an interval finds it, the same on every device.
    Where it lies outside of ``TEMPERATURES``, as for answers that are all right or mean nothing, or where the logits
    are not finite, there is nothing to go by: the temperature is 1.

    Args:
        logits: ``(N, classes)`` of images that the model was not trained on.
        labels: ``(N,)``.
    """
    logits = logits.double().cpu()
    given = logits.gather(1, labels.cpu()[:, None]).squeeze(1)

    def slope(inverse: float) -> float:
        """Slope of the cross-entropy over the inverse temperature."""
        expected = ((logits * inverse).softmax(dim=1) * logits).sum(dim=1)
        return (expected - given).mean().item()

    least, most = (1 / temperature for temperature in reversed(TEMPERATURES))
    if not slope(least) < 0 < slope(most):
        return 1.0
    for _ in range(60):
        middle = (least + most) / 2
        least, most = (middle, most) if slope(middle) < 0 else (least, middle)
    return 2 / (least + most)
