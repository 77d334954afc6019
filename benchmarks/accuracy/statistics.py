"""Means over seeds, and differences between configurations with what could be chance."""

from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from benchmarks.accuracy.training import DIGITS
from emotion_lightning.evaluation.confusion import overall_metrics
from emotion_lightning.evaluation.significance import mcnemar
from emotion_lightning.seeding import derive_seed

RESAMPLES = 2000
BySeed = Mapping[int, Mapping[str, Any]]
"""Result of each seed of a configuration."""


class Difference(NamedTuple):
    """How much better the macro F1 of a configuration is than that of its reference, over the seeds of both.

    Args:
        seeds: Seeds that both were trained with.
        f1_macro: Mean difference.
        low: Lower end of its 95 % interval.
        high: Upper end.
        p: Exact McNemar's p for each seed, in the order of the seeds.
    """

    seeds: tuple[int, ...]
    f1_macro: float
    low: float
    high: float
    p: tuple[float, ...]


def spread(results: BySeed, name: str) -> tuple[float, float | None] | None:
    """Mean and standard deviation of a figure over the seeds; None where no run has it, or only one."""
    values = [result[name] for result in results.values() if result[name] is not None]
    return (mean(values), stdev(values) if len(values) > 1 else None) if values else None


def difference(ours: BySeed, theirs: BySeed) -> Difference | None:
    """Compare the runs of each seed that both have, image by image; None without such a seed.

    The interval is a percentile bootstrap (Efron, 1979) over images and over seeds at once: each resample draws the
    images anew, the same for all runs, and the pairs of runs anew. It covers images like these and seeds like these;
    with three seeds the part of the seeds is coarse.
    """
    seeds = tuple(sorted(ours.keys() & theirs.keys()))
    if not seeds:
        return None
    pairs = [(ours[seed], theirs[seed]) for seed in seeds]
    rng = np.random.default_rng(derive_seed(0, "study"))
    images = len(pairs[0][0]["labels"])
    drawn = torch.from_numpy(rng.multinomial(images, np.full(images, 1 / images), size=RESAMPLES)).double()
    weights = torch.from_numpy(rng.multinomial(len(seeds), np.full(len(seeds), 1 / len(seeds)), size=RESAMPLES))
    resampled = torch.stack([_f1(first, drawn) - _f1(second, drawn) for first, second in pairs], dim=1)
    low, high = torch.quantile(
        (resampled * weights).sum(dim=1) / len(seeds), torch.tensor([0.025, 0.975], dtype=torch.double)
    ).tolist()
    return Difference(
        seeds,
        mean(first["f1_macro"] - second["f1_macro"] for first, second in pairs),
        low,
        high,
        tuple(mcnemar(_right(first), _right(second)).p for first, second in pairs),
    )


def mean_curve(results: BySeed, tag: str) -> list[float]:
    """Mean of a metric over the seeds, epoch by epoch."""
    return [mean(values) for values in zip(*(result["curves"][tag] for result in results.values()), strict=True)]


def _f1(result: Mapping[str, Any], drawn: Tensor) -> Tensor:
    """Macro F1 of each resample of the images ``(resamples, images)``."""
    labels, predicted = _classes(result["labels"]), _classes(result["predicted"])
    classes = int(max(labels.max(), predicted.max())) + 1
    cells = torch.nn.functional.one_hot(labels * classes + predicted, classes**2).double()
    return overall_metrics((drawn @ cells).view(-1, classes, classes))["f1_macro"]


def _right(result: Mapping[str, Any]) -> Tensor:
    return _classes(result["labels"]) == _classes(result["predicted"])


def _classes(word: Sequence[str]) -> Tensor:
    return torch.tensor([DIGITS.index(letter) for letter in word])
