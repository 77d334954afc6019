"""Accuracy, precision, recall and F1, all from a confusion matrix."""

from torch import Tensor


def confusion_matrix(labels: Tensor, predicted: Tensor, classes: int) -> Tensor:
    """Count ``labels`` and ``predicted`` ``(N,)`` in a matrix ``(classes, classes)``, rows true."""
    return (labels * classes + predicted).bincount(minlength=classes**2).view(classes, classes)


def overall_metrics(confusion: Tensor, averaged: Tensor | None = None) -> dict[str, Tensor]:
    """Accuracy, macro F1 and weighted F1 ``(...)`` of confusion matrices ``(..., classes, classes)``.

    A class that is neither seen nor predicted has F1 0.

    Args:
        confusion: Rows true and columns predicted.
        averaged: Classes over which macro F1 is averaged, bool ``(classes,)``; by default all.
    """
    confusion = confusion.double()
    support, f1 = confusion.sum(dim=-1), per_class(confusion)["f1"]
    total = support.sum(dim=-1).clamp(min=1)
    macro = f1 if averaged is None else f1[..., averaged]
    return {
        "accuracy": confusion.diagonal(dim1=-2, dim2=-1).sum(dim=-1) / total,
        "f1_macro": macro.mean(dim=-1),
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
