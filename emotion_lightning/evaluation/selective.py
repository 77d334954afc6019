"""What a model gains if it answers only where it is sure, and the confidence from which on it may be relied on."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

UNCERTAIN = "uncertain"
"""What is answered below a threshold, and so the name of no class."""

EXCLUDED_BY_LUCK = 3
"""Errors to expect of answers without one, at most, at 95 %: the rule of three (Hanley and Lippman-Hand, 1983)."""


class RiskCoverage(NamedTuple):
    """Risk over coverage (Geifman and El-Yaniv, 2017), from the surest answer on, each ``(levels,)``.

    A level is a confidence that some image has. Images of one level are answered together or not at all, so the order
    among them does not matter.

    Attributes:
        confidence: Least confidence that is answered, falling.
        answers: Number of images that are answered then.
        hits: Number of these answers that are right.
    """

    confidence: Tensor
    answers: Tensor
    hits: Tensor

    @property
    def coverage(self) -> Tensor:
        """Share of the images that are answered."""
        return self.answers.double() / self.answers[-1:]

    @property
    def precision(self) -> Tensor:
        """Share of the answers that are right."""
        return self.hits.double() / self.answers

    @property
    def risk(self) -> Tensor:
        """Share of the answers that are wrong."""
        return 1 - self.precision

    @property
    def aurc(self) -> float:
        """Area under the curve (Geifman et al., 2019): mean risk of the k surest answers, over k from 1 to all.

        Within a level it is the mean over all orders, as every image has the level's share of errors. So an order at
        random has the risk of all answers; the best order, all errors last, has the least area that a model with as
        many errors can have. nan without images.
        """
        images = self.answers.diff(prepend=self.answers.new_zeros(1))
        errors = 1 - self.hits.diff(prepend=self.hits.new_zeros(1)).double() / images
        risks = errors.repeat_interleave(images).cumsum(0) / torch.arange(1, int(images.sum()) + 1)
        return risks.mean().item()


class Threshold(NamedTuple):
    """The least ``probability`` of an answer; below it a model is uncertain.

    ``precision`` is the share of right answers and ``coverage`` the share of answered images where it was chosen.
    """

    probability: float
    precision: float
    coverage: float


def risk_coverage(confidence: Tensor, right: Tensor) -> RiskCoverage:
    """Answer the surest images first.

    Args:
        confidence: Of each image ``(N,)``, at least 0, which is also that of an image without a number.
        right: Which answers are right, bool ``(N,)``.
    """
    levels, place = torch.unique(-confidence.nan_to_num(0.0), return_inverse=True)
    answers, hits = (found.bincount(minlength=len(levels)).cumsum(0) for found in (place, place[right]))
    return RiskCoverage(-levels, answers, hits)


def risk_coverage_of(probabilities: Tensor, labels: Tensor) -> RiskCoverage:
    """Answer the images first whose most probable class is most probable.

    Args:
        probabilities: ``(N, classes)``, best calibrated; an image without numbers counts as wrong.
        labels: ``(N,)``.
    """
    confidence, predicted = probabilities.max(dim=1)
    return risk_coverage(confidence, (predicted == labels) & confidence.isfinite())


def fewest_answers(precision: float) -> int:
    """Number of answers that, all right, are enough to show a ``precision``: of fewer, luck explains as much."""
    return math.ceil(round(EXCLUDED_BY_LUCK / (1 - precision), 6))


def choose_threshold(probabilities: Tensor, labels: Tensor, precision: float) -> Threshold | None:
    """Choose the threshold that answers most images with at least the given precision.

    It is the lowest at and above which the answers reach it, be they less precise between it and the top. A top of a
    few images that happens to be right is not enough: there must be :func:`fewest_answers`. The threshold lies halfway
    to the next less sure image, so that float32's rounding, as another device's, rarely changes an answer. That of 16
    bits is far greater than the distance between neighbors, and changes some.

    Args:
        probabilities: Calibrated ``(N, classes)`` of images that the model was not trained on.
        labels: ``(N,)``.
        precision: In (0, 1).

    Returns:
        None if no threshold does.
    """
    found = risk_coverage_of(probabilities, labels)
    enough = (found.precision >= precision) & (found.answers >= fewest_answers(precision))
    if not enough.any():
        return None
    last = int(enough.nonzero()[-1])
    above, below = [*found.confidence.tolist(), 0.0][last : last + 2]
    return Threshold((above + below) / 2, found.precision[last].item(), found.coverage[last].item())
