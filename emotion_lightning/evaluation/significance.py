"""Whether a difference between two models is larger than chance."""

import random
from collections.abc import Sequence
from itertools import combinations
from math import comb
from statistics import mean
from typing import NamedTuple

from torch import Tensor

MOST_DEALS = 20_000


class McNemar(NamedTuple):
    """How often only ``ours`` was right and only ``theirs``, and how likely so uneven a split is by chance."""

    ours: int
    theirs: int
    p: float


def mcnemar(ours: Tensor, theirs: Tensor) -> McNemar:
    """Exact McNemar test (McNemar, 1947): two-sided binomial test of the images on which only one model is right.

    Args:
        ours: Where our model is right, bool ``(N,)``.
        theirs: Where the other model is right on the same images, bool ``(N,)``.
    """
    only_ours, only_theirs = int((ours & ~theirs).sum()), int((~ours & theirs).sum())
    return McNemar(only_ours, only_theirs, _two_sided(min(only_ours, only_theirs), only_ours + only_theirs))


def permutation_test(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Two-sided permutation test (Fisher, 1935) of the difference of the means of two groups of runs.

    The p-value is the share of all ways to deal the scores to two such groups that differ at least as much. Of more
    than :data:`MOST_DEALS` ways that many are drawn.

    Args:
        ours: The score of each of our runs.
        theirs: The score of each of the others.
    """
    pooled, size = [*ours, *theirs], len(ours)
    every: Sequence[Sequence[int]] = (
        list(combinations(range(len(pooled)), size))
        if comb(len(pooled), size) <= MOST_DEALS
        else [random.Random(n).sample(range(len(pooled)), size) for n in range(MOST_DEALS)]
    )
    total, rest, observed = sum(pooled), len(theirs), abs(mean(ours) - mean(theirs))
    dealt = (sum(pooled[place] for place in deal) for deal in every)
    as_far = sum(abs(part / size - (total - part) / rest) >= observed - 1e-12 for part in dealt)
    drawn = len(every) < comb(len(pooled), size)  # then the deal that was observed counts as one more
    return (as_far + drawn) / (len(every) + drawn)


def _two_sided(fewer: int, total: int) -> float:
    """Probability that a fair coin falls on one of its sides at most ``fewer`` times of ``total``."""
    ways, tail = 1, 0  # whole numbers, of which Python has no largest
    for heads in range(fewer + 1):
        tail += ways
        ways = ways * (total - heads) // (heads + 1)
    return float(min(2 * tail / 2**total, 1.0))
