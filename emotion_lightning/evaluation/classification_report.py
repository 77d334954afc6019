"""Metrics as text, in the shape of scikit-learn's classification report."""

from collections.abc import Sequence

import torch
from torch import Tensor

from emotion_lightning.evaluation.confusion import overall_metrics, per_class

COLUMNS = {"precision": "precision", "recall": "recall", "f1": "f1-score"}


def classification_report(confusion: Tensor, class_names: Sequence[str], subset: bool = False) -> str:
    """Tabulate precision, recall, F1 and support of each class, accuracy, and both averages.

    Args:
        confusion: Confusion matrix ``(classes, classes)``, rows true and columns predicted.
        class_names: Names in the order of the labels.
        subset: Leave out classes without images, also from the macro average.
    """
    support = confusion.sum(dim=1)
    columns = per_class(confusion)
    width = max(len("weighted avg"), *map(len, class_names))

    def row(name: str, cells: Sequence[str]) -> str:
        return f"{name:>{width}} " + "".join(f"{cell:>10}" for cell in cells)

    def averaged(name: str, weights: Tensor) -> str:
        means = [(columns[key] * weights).sum() / weights.sum().clamp(min=1) for key in COLUMNS]
        return row(name, [f"{mean:.2f}" for mean in means] + [f"{int(support.sum())}"])

    rows = [
        row(name, [f"{columns[key][label]:.2f}" for key in COLUMNS] + [f"{int(support[label])}"])
        for label, name in enumerate(class_names)
        if support[label] or not subset
    ]
    accuracy = row("accuracy", ["", "", f"{overall_metrics(confusion)['accuracy']:.2f}", f"{int(support.sum())}"])
    equal = (support > 0).long() if subset else torch.ones_like(support)
    means = [averaged("macro avg", equal), averaged("weighted avg", support)]
    return "\n".join([row("", [*COLUMNS.values(), "support"]), "", *rows, "", accuracy, *means])
