"""The curve of a learning-rate range test (Smith, 2017): pure functions of its rates and losses."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SMOOTHING = 0.8
"""Weight of a loss in a moving average, relative to that of its neighbor."""

DIVERGED = 4.0
"""How many times its best the moving average is when a sweep has diverged."""


def sweep_rates(lowest: float, highest: float, steps: int) -> list[float]:
    """Learning rates of a sweep: ``steps`` of them, rising exponentially from ``lowest`` to ``highest``."""
    rates: list[float] = np.geomspace(lowest, highest, steps).tolist()
    return rates


def has_diverged(losses: Sequence[float]) -> bool:
    """Say whether the last loss is not finite, or the moving average up to it several times its best so far."""
    if not math.isfinite(losses[-1]):
        return True
    averages, average = [], 0.0
    for step, loss in enumerate(losses, start=1):
        average = SMOOTHING * average + (1 - SMOOTHING) * loss
        averages.append(average / (1 - SMOOTHING**step))  # bias-corrected: the first average is the first loss
    return averages[-1] > DIVERGED * min(averages)


def smooth(losses: Sequence[float], reference: Sequence[float]) -> NDArray[np.float64]:
    """Average the effect of the rates over neighboring steps, bias-corrected, on the level of the mean reference.

    What the batches differ by is about 50 times what a small rate changes, so it is taken out first: ``reference`` are
    the losses on the same batches, with the same dropout, when the rate does not rise but is 0. The average reaches to
    both sides, as one of earlier steps alone would lag and suggest too high a rate. Where a loss is not finite, the
    average is that of its neighbors.
    """
    effect = np.subtract(losses, reference)
    steps = np.arange(len(effect))
    weights = SMOOTHING ** np.abs(steps[:, None] - steps) * np.isfinite(effect)
    averages = weights @ np.nan_to_num(effect, posinf=0.0, neginf=0.0) / weights.sum(axis=1)
    level: NDArray[np.float64] = averages + np.mean(reference)
    return level


def suggest(rates: Sequence[float], losses: Sequence[float], reference: Sequence[float]) -> float | None:
    """Rate at which the smoothed loss falls most steeply over the logarithm of the rate.

    ``None`` if it never falls clearly below what it is without learning: by 1 %, and by 1.5 times what the
    losses scatter about it up to its lowest point.
    """
    smoothed = smooth(losses, reference)
    best = int(smoothed.argmin())
    if best < 2:
        return None
    descent = smoothed[: best + 1]
    scatter = np.std(np.subtract(losses, reference)[: best + 1] - descent)
    unlearned = np.mean(reference)
    if unlearned - descent[best] <= max(1.5 * scatter, 0.01 * unlearned):
        return None
    return float(rates[int(np.gradient(descent, np.log(rates[: best + 1])).argmin())])
