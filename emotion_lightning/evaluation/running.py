"""Sums over the steps of an epoch, kept on the device: adding a step does not wait for it."""

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor
from torchmetrics import Metric

from emotion_lightning.batch import IGNORE_INDEX


class ConfusionMetric(Metric):
    """Confusion matrix and mean loss of an epoch, summed over ranks.

    Args:
        num_classes: Number of classes.
    """

    full_state_update = False
    confusion: Tensor
    loss_sum: Tensor

    def __init__(self, num_classes: int):
        super().__init__()
        self.num_classes = num_classes
        self.add_state("confusion", torch.zeros(num_classes, num_classes, dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("loss_sum", torch.zeros(()), dist_reduce_fx="sum")

    def update(self, logits: Tensor, labels: Tensor, losses: Tensor) -> None:
        """Add a batch: logits ``(B, classes)``, labels ``(B,)`` and the loss of each row ``(B,)``.

        Rows of which the model gave no numbers do not count.
        """
        valid = (labels != IGNORE_INDEX) & logits.isfinite().all(dim=1)
        cells = labels.clamp(min=0) * self.num_classes + logits.argmax(dim=1)
        self.confusion.view(-1).scatter_add_(0, cells, valid.long())
        self.loss_sum += losses.where(valid, 0).sum()

    def compute(self) -> tuple[Tensor, float]:
        """Return the confusion matrix ``(classes, classes)``, rows true and columns predicted, and the mean loss,
        which is nan if nothing counted.
        """
        confusion = self.confusion.cpu()
        return confusion, (self.loss_sum.cpu() / confusion.sum()).item()


class FiniteMean(Metric):
    """Mean of the finite values among those given; nan if there are none.

    torchmetrics' own mean either reads every value or, told not to, ignores its weights.
    """

    full_state_update = False
    total: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros(()), dist_reduce_fx="sum")

    def update(self, value: Tensor) -> None:
        """Add a value ``()``."""
        self.total += value.nan_to_num(0.0, 0.0, 0.0)
        self.count += value.isfinite()

    def compute(self) -> Tensor:
        """Return the mean."""
        return self.total / self.count


def sums_of(metrics: Mapping[str, Metric]) -> dict[str, Tensor]:
    """The sums so far of several metrics, for a checkpoint that is saved within an epoch."""
    states = (
        (f"{name}.{key}", value) for name, metric in metrics.items() for key, value in metric.metric_state.items()
    )
    return {name: cast(Tensor, value) for name, value in states}  # and no list, as none of these metrics has


def go_on_from(metrics: Mapping[str, Metric], sums: Mapping[str, Tensor]) -> None:
    """Put what :func:`sums_of` gave into ``metrics``, which go on from there."""
    for name, metric in metrics.items():
        for key in metric.metric_state:
            setattr(metric, key, sums[f"{name}.{key}"].clone())
