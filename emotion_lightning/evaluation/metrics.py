"""The figures of an epoch, all from one confusion matrix that lives on the device and is summed over ranks."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric

from emotion_lightning.batch import IGNORE_INDEX

MONITOR = "val/f1_macro"
"""What selects the best checkpoint and stops early."""


class ConfusionMetric(Metric):
    """Loss and confusion matrix of an epoch, added up without waiting for the device.

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
        """Add a batch: logits ``(B, classes)``, labels ``(B,)`` and the loss of each row ``(B,)``."""
        valid = labels != IGNORE_INDEX
        cells = labels.clamp(min=0) * self.num_classes + logits.argmax(dim=1)
        self.confusion.view(-1).scatter_add_(0, cells, valid.long())
        self.loss_sum += (losses * valid).sum()

    def compute(self) -> tuple[Tensor, float]:
        """Return the confusion matrix ``(classes, classes)``, rows true and columns predicted, and the mean loss."""
        confusion = self.confusion.cpu()
        return confusion, self.loss_sum.item() / max(int(confusion.sum()), 1)


class FiniteMean(Metric):
    """Mean of the finite values among those given, without waiting for the device; 0 if there are none.

    torchmetrics' own mean either looks at every value or, told not to, leaves its weights out of account.
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
        return self.total / self.count.clamp(min=1)


def accuracy_and_f1(confusion: Tensor) -> dict[str, float]:
    """Accuracy, macro F1 and weighted F1 of a confusion matrix; a class never seen nor predicted has F1 0."""
    return {name: value.item() for name, value in headline(confusion).items()}


def headline(confusion: Tensor) -> dict[str, Tensor]:
    """Accuracy, macro F1 and weighted F1 ``(...)`` of confusion matrices ``(..., classes, classes)``."""
    confusion = confusion.double()
    support, f1 = confusion.sum(dim=-1), per_class(confusion)["f1"]
    total = support.sum(dim=-1).clamp(min=1)
    return {
        "accuracy": confusion.diagonal(dim1=-2, dim2=-1).sum(dim=-1) / total,
        "f1_macro": f1.mean(dim=-1),
        "f1_weighted": (f1 * support).sum(dim=-1) / total,
    }


def per_class(confusion: Tensor) -> dict[str, Tensor]:
    """Precision, recall and F1 of each class ``(..., classes)``; where one is undefined it is 0, as in scikit-learn."""
    confusion = confusion.double()
    hits = confusion.diagonal(dim1=-2, dim2=-1)
    predicted, support = confusion.sum(dim=-2), confusion.sum(dim=-1)
    return {
        "precision": hits / predicted.clamp(min=1),
        "recall": hits / support.clamp(min=1),
        "f1": 2 * hits / (predicted + support).clamp(min=1),
    }


def logged_scores(
    scores: ConfusionMetric, class_names: Sequence[str], split: str, suffix: str = ""
) -> dict[str, float]:
    """Name every figure of ``scores`` as it is logged: ``split/f1_macro``, ``split_per_class/f1_happy`` and so on.

    Args:
        scores: An epoch's accumulated scores.
        class_names: Names in the order of the labels.
        split: ``train``, ``val`` or ``test``.
        suffix: Put behind every name but the loss; training counts mixed images as ``_dominant``.
    """
    confusion, loss = scores.compute()
    named = {f"{split}/loss": loss}
    named |= {f"{split}/{name}{suffix}": value for name, value in accuracy_and_f1(confusion).items()}
    for figure, values in per_class(confusion).items():
        for name, value in zip(class_names, values.tolist(), strict=True):
            named[f"{split}_per_class/{figure}_{name}{suffix}"] = value
    return named
