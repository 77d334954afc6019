"""Whether a difference between two models is larger than chance."""

from typing import NamedTuple

from torch import Tensor


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


def _two_sided(fewer: int, total: int) -> float:
    """Probability that a fair coin falls on one of its sides at most ``fewer`` times of ``total``."""
    ways, tail = 1, 0  # whole numbers, of which Python has no largest
    for heads in range(fewer + 1):
        tail += ways
        ways = ways * (total - heads) // (heads + 1)
    return float(min(2 * tail / 2**total, 1.0))
