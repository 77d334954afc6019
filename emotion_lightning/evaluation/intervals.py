"""How far a metric could be off because the measured images are only a sample."""

from math import sqrt
from statistics import NormalDist

import numpy as np
import torch
from torch import Tensor

from emotion_lightning.evaluation.confusion import overall_metrics
from emotion_lightning.seeding import derive_seed

RESAMPLES = 2000


def bootstrap_intervals(
    confusion: Tensor, level: float = 0.95, seed: int = 0, averaged: Tensor | None = None
) -> dict[str, tuple[float, float]]:
    """Percentile bootstrap intervals (Efron, 1979) of accuracy, macro F1 and weighted F1.

    Every metric is a function of the confusion matrix, so its cells are resampled in place of the images.

    Args:
        confusion: Confusion matrix ``(classes, classes)`` of at least one image, rows true and columns predicted.
        level: Share of resamples that lie inside, in (0, 1).
        seed: Seed of the resamples.
        averaged: Classes over which macro F1 is averaged, bool ``(classes,)``; by default all.
    """
    return _intervals(overall_metrics(_resampled(confusion, seed), averaged), level)


def class_f1_intervals(confusion: Tensor, level: float = 0.95, seed: int = 0) -> list[tuple[float, float]]:
    """Percentile bootstrap interval of the F1 of each class, from the resamples of :func:`bootstrap_intervals`.

    Args:
        confusion: Confusion matrix ``(classes, classes)`` of at least one image, rows true and columns predicted.
        level: Share of resamples that lie inside, in (0, 1).
        seed: Seed of the resamples.
    """
    drawn = _resampled(confusion, seed).double()
    f1 = 2 * drawn.diagonal(dim1=1, dim2=2) / (drawn.sum(1) + drawn.sum(2)).clamp(min=1)
    edges = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.double)
    return [(low, high) for low, high in torch.quantile(f1, edges, dim=0).T.tolist()]


def paired_intervals(
    labels: Tensor, ours: Tensor, theirs: Tensor, classes: int, level: float = 0.95, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Percentile bootstrap intervals of how much better our metrics are than another model's on the same images.

    Args:
        labels: True classes ``(N,)``.
        ours: Classes that our model predicts ``(N,)``.
        theirs: Classes that the other model predicts ``(N,)``.
        classes: Number of classes.
        level: Share of resamples that lie inside, in (0, 1).
        seed: Seed of the resamples.
    """
    answers, counts = torch.unique(torch.stack([labels, ours, theirs], dim=1), dim=0, return_counts=True)
    drawn = _resampled(counts, seed)
    our_metrics, their_metrics = (
        overall_metrics(
            torch.zeros(RESAMPLES, classes**2, dtype=torch.long)
            .index_add_(1, answers[:, 0] * classes + answers[:, model], drawn)
            .view(RESAMPLES, classes, classes)
        )
        for model in (1, 2)
    )
    return _intervals({name: values - their_metrics[name] for name, values in our_metrics.items()}, level)


def share_interval(hits: int, images: int, level: float = 0.95) -> tuple[float, float]:
    """Interval of Wilson (1927) of a share, which is right also for few images of which all or none are hits.

    Args:
        hits: How many of the images have what is counted.
        images: Number of images; without any the interval is all of [0, 1].
        level: How often such intervals hold the true share, in (0, 1).
    """
    if not images:
        return 0.0, 1.0
    share, z = hits / images, NormalDist().inv_cdf((1 + level) / 2)
    width = z * sqrt(share * (1 - share) / images + (z / (2 * images)) ** 2)
    center, scale = share + z**2 / (2 * images), 1 + z**2 / images
    return max(0.0, (center - width) / scale), min(1.0, (center + width) / scale)


def _resampled(cells: Tensor, seed: int) -> Tensor:
    """Draw as many images as ``cells`` counts ``(...)`` anew, ``RESAMPLES`` times: ``(RESAMPLES, ...)``."""
    counts = cells.flatten().double().numpy()
    total = int(counts.sum())
    rng = np.random.default_rng(derive_seed(seed, "bootstrap"))
    return torch.from_numpy(rng.multinomial(total, counts / total, size=RESAMPLES)).view(-1, *cells.shape)


def _intervals(resampled: dict[str, Tensor], level: float) -> dict[str, tuple[float, float]]:
    edges = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.double)
    return {
        name: (low.item(), high.item())
        for name, values in resampled.items()
        for low, high in [torch.quantile(values, edges)]
    }
