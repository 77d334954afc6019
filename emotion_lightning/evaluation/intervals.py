"""How far a metric could be off because the measured images are only a sample."""

from math import sqrt
from statistics import NormalDist

import numpy as np
import torch
from torch import Tensor

from emotion_lightning.evaluation.confusion import overall_metrics
from emotion_lightning.evaluation.outputs import by_subject
from emotion_lightning.seeding import derive_seed

RESAMPLES = 2000


def bootstrap_intervals(
    confusion: Tensor, level: float = 0.95, seed: int = 0, averaged: Tensor | None = None
) -> dict[str, tuple[float, float]]:
    """Percentile bootstrap intervals (Efron, 1979) of accuracy, macro F1 and weighted F1.

    Every metric is a function of the confusion matrix, so its cells are resampled in place of the images. Where each
    subject has a matrix of its own, subjects are drawn, each with all its images (Field and Welsh, 2007): images of one
    person are alike, and intervals over images too narrow.

    Args:
        confusion: Confusion matrix ``(classes, classes)`` of at least one image, rows true and columns predicted; or
            that of each subject ``(subjects, classes, classes)``.
        level: Share of resamples that lie inside, in (0, 1).
        seed: Seed of the resamples.
        averaged: Classes over which macro F1 is averaged, bool ``(classes,)``; by default all.
    """
    return _intervals(overall_metrics(_resampled(confusion, 2, seed), averaged), level)


def class_f1_intervals(confusion: Tensor, level: float = 0.95, seed: int = 0) -> list[tuple[float, float]]:
    """Percentile bootstrap interval of the F1 of each class, from the resamples of :func:`bootstrap_intervals`.

    Args:
        confusion: As :func:`bootstrap_intervals` takes it.
        level: Share of resamples that lie inside, in (0, 1).
        seed: Seed of the resamples.
    """
    drawn = _resampled(confusion, 2, seed).double()
    f1 = 2 * drawn.diagonal(dim1=1, dim2=2) / (drawn.sum(1) + drawn.sum(2)).clamp(min=1)
    edges = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.double)
    return [(low, high) for low, high in torch.quantile(f1, edges, dim=0).T.tolist()]


def paired_intervals(
    labels: Tensor,
    ours: Tensor,
    theirs: Tensor,
    classes: int,
    subjects: Tensor | None = None,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """Percentile bootstrap intervals of how much better our metrics are than another model's on the same images.

    Args:
        labels: True classes ``(N,)``.
        ours: Classes that our model predicts ``(N,)``.
        theirs: Classes that the other model predicts ``(N,)``.
        classes: Number of classes.
        subjects: The subject of each image ``(N,)``, of which all images are then drawn together.
        level: Share of resamples that lie inside, in (0, 1).
        seed: Seed of the resamples.
    """
    answers, cells = torch.unique(torch.stack([labels, ours, theirs], dim=1), dim=0, return_inverse=True)
    counts = cells.bincount() if subjects is None else by_subject(cells, subjects, len(answers))
    drawn = _resampled(counts, 1, seed)
    our_metrics, their_metrics = (
        overall_metrics(
            torch.zeros(RESAMPLES, classes**2, dtype=torch.long)
            .index_add_(1, answers[:, 0] * classes + answers[:, model], drawn)
            .view(RESAMPLES, classes, classes)
        )
        for model in (1, 2)
    )
    return _intervals({name: values - their_metrics[name] for name, values in our_metrics.items()}, level)


def rate_interval(hits: Tensor, images: Tensor, level: float = 0.95) -> tuple[float, float]:
    """Interval of :func:`share_interval`; where subjects are known, at the effective number of images (Kish, 1965).

    That is how many independent images would say as much: their number over how many times the variance between
    subjects is what it would be among independent images, but no more than there are. Where all images of all subjects
    are hits, or none is, so that nothing is known of that variance, each subject counts as one image.

    Args:
        hits: How many images have what is counted, ``()``, or of each subject ``(subjects,)``.
        images: Number of images, as ``hits``.
        level: How often such intervals hold the true share, in (0, 1).
    """
    total, subjects = int(images.sum()), int((images > 0).sum())
    if not images.ndim or not total:
        return share_interval(int(hits.sum()), total, level)
    share = hits.sum().item() / total
    effective = float(subjects)
    if 0 < share < 1 and subjects > 1:
        between = ((hits - share * images).double() ** 2).sum().item() * subjects / (subjects - 1) / total**2
        effective = min(total, share * (1 - share) / between) if between else total
    return share_interval(share * effective, effective, level)


def share_interval(hits: float, images: float, level: float = 0.95) -> tuple[float, float]:
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


def _resampled(cells: Tensor, ndim: int, seed: int) -> Tensor:
    """Draw as many images as ``cells`` counts anew, or as many subjects if these have counts of their own.

    Args:
        cells: Counts of ``ndim`` dimensions ``(...)``, or of each subject ``(subjects, ...)``.
        ndim: Number of the dimensions of a count.
        seed: Seed of the draws.

    Returns:
        Counts ``(RESAMPLES, ...)``.
    """
    if cells.ndim == ndim:
        return _drawn(cells.flatten(), seed).view(-1, *cells.shape)
    kinds, alike = torch.unique(cells.flatten(1), dim=0, return_counts=True)  # most have few images, and many the same
    drawn: Tensor = _drawn(alike, seed).double() @ kinds.double()
    return drawn.long().view(-1, *cells.shape[1:])


def _drawn(counts: Tensor, seed: int) -> Tensor:
    total = int(counts.sum())
    rng = np.random.default_rng(derive_seed(seed, "bootstrap"))
    return torch.from_numpy(rng.multinomial(total, counts.double().numpy() / total, size=RESAMPLES))


def _intervals(resampled: dict[str, Tensor], level: float) -> dict[str, tuple[float, float]]:
    edges = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.double)
    return {
        name: (low.item(), high.item())
        for name, values in resampled.items()
        for low, high in [torch.quantile(values, edges)]
    }
