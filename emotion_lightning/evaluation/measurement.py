"""Every figure of a model on some images, in plain types."""

from collections.abc import Sequence
from typing import Any

from emotion_lightning.evaluation.calibration import reliability
from emotion_lightning.evaluation.curves import curves
from emotion_lightning.evaluation.intervals import bootstrap_intervals
from emotion_lightning.evaluation.metrics import accuracy_and_f1, per_class
from emotion_lightning.evaluation.outputs import EvalOutputs

HEADLINES = {"accuracy": "accuracy", "f1_macro": "macro F1", "f1_weighted": "weighted F1", "loss": "cross-entropy"}
"""The first figures that anybody looks at, and what they are called."""


def figures(outputs: EvalOutputs, class_names: Sequence[str]) -> dict[str, Any]:
    """Number of images, loss, accuracy, F1, their intervals, and the figures of each class.

    A figure that a class without images does not have, such as an area under a curve, is nan.
    """
    confusion, probabilities = outputs.confusion, outputs.probabilities
    columns = {name: values.tolist() for name, values in per_class(confusion).items()}
    columns["support"] = confusion.sum(dim=1).tolist()
    found = [curves(probabilities[:, label], outputs.labels == label) for label in range(len(class_names))]
    columns["roc_auc"] = [curve.roc_auc for curve in found]
    columns["average_precision"] = [curve.average_precision for curve in found]
    return {
        "n": len(outputs.labels),
        "loss": outputs.losses.mean().item(),
        **accuracy_and_f1(confusion),
        "intervals": bootstrap_intervals(confusion) if confusion.any() else {},
        "per_class": {
            name: {column: values[label] for column, values in columns.items()}
            for label, name in enumerate(class_names)
        },
    }


def calibration(outputs: EvalOutputs, temperature: float) -> dict[str, float]:
    """Expected calibration error and loss, as the model gives its probabilities and divided by ``temperature``."""
    scaled = outputs._replace(logits=outputs.logits / temperature)
    return {
        "temperature": temperature,
        "ece": reliability(outputs.logits, outputs.labels).ece,
        "ece_scaled": reliability(outputs.logits, outputs.labels, temperature).ece,
        "loss_scaled": scaled.losses.mean().item(),
    }
