"""The metrics of a model on some images, in plain types and as they are logged."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from emotion_lightning.evaluation.calibration import reliability
from emotion_lightning.evaluation.confusion import overall_metrics, per_class
from emotion_lightning.evaluation.curves import curves
from emotion_lightning.evaluation.intervals import bootstrap_intervals, rate_interval
from emotion_lightning.evaluation.outputs import EvalOutputs, by_subject, count_of
from emotion_lightning.evaluation.selective import Threshold, risk_coverage, risk_coverage_of

MONITOR = "val/f1_macro"
"""What selects the best checkpoint and stops early."""

OVERALL = {"accuracy": "accuracy", "f1_macro": "macro F1", "f1_weighted": "weighted F1", "loss": "cross-entropy"}
"""The metrics of a whole split, and what they are called."""


def compute_metrics(outputs: EvalOutputs, class_names: Sequence[str], subset: bool = False) -> dict[str, Any]:
    """Number of images, loss, accuracy, F1, their intervals, and the metrics of each class.

    A metric that a class without images does not have, such as an area under a curve, is nan. All are nan if the model
    gave no numbers for some image.

    Args:
        outputs: Outputs of the model.
        class_names: Names in the order of the labels.
        subset: Whether the images are a part of a split, or of other data than the model's own. Macro F1 is then
            averaged over the classes that they have, whose number is ``classes``; a whole split counts a class that it
            lacks as 0, as scikit-learn does. ``f1_macro_present`` is over the classes that they have in either case.
    """
    if not outputs.answered.all():
        return _unknown(outputs, class_names)
    confusion, probabilities = outputs.confusion, outputs.probabilities
    present = confusion.sum(dim=1) > 0
    averaged = present if subset else torch.ones(len(class_names), dtype=torch.bool)
    columns = {name: values.tolist() for name, values in per_class(confusion).items()}
    columns["support"] = confusion.sum(dim=1).tolist()
    found = [curves(probabilities[:, label], outputs.labels == label) for label in range(len(class_names))]
    columns["roc_auc"] = [curve.roc_auc for curve in found]
    columns["average_precision"] = [curve.average_precision for curve in found]
    return {
        "n": len(outputs.labels),
        "loss": outputs.losses.mean().item(),
        **{name: value.item() for name, value in overall_metrics(confusion, averaged).items()},
        "f1_macro_present": overall_metrics(confusion, present)["f1_macro"].item(),
        "classes": int(averaged.sum()),
        "subjects": None if outputs.subjects is None else count_of(outputs.subjects),
        "intervals": bootstrap_intervals(outputs.confusions, averaged=averaged) if confusion.any() else {},
        "per_class": {
            name: {column: values[label] for column, values in columns.items()}
            for label, name in enumerate(class_names)
        },
    }


def _unknown(outputs: EvalOutputs, class_names: Sequence[str]) -> dict[str, Any]:
    columns = ("precision", "recall", "f1", "roc_auc", "average_precision")
    support = outputs.labels.bincount(minlength=len(class_names)).tolist()
    return {
        "n": len(outputs.labels),
        **dict.fromkeys((*OVERALL, "f1_macro_present"), math.nan),
        "classes": len(class_names),
        "subjects": None,
        "intervals": {},
        "per_class": {
            name: dict.fromkeys(columns, math.nan) | {"support": images}
            for name, images in zip(class_names, support, strict=True)
        },
    }


def calibration_metrics(outputs: EvalOutputs, temperature: float) -> dict[str, float]:
    """Expected calibration error and loss, of the probabilities as they are and of logits over ``temperature``."""
    scaled = outputs.scaled(temperature)
    return {
        "temperature": temperature,
        "ece": reliability(outputs.logits, outputs.labels).ece,
        "ece_scaled": reliability(outputs.logits, outputs.labels, temperature).ece,
        "loss_scaled": scaled.losses.mean().item(),
    }


def selective_metrics(outputs: EvalOutputs, temperature: float, threshold: Threshold | None) -> dict[str, Any]:
    """Area under risk over coverage of answers by their calibrated confidence, and what a threshold does.

    ``aurc_random`` and ``aurc_oracle`` are the areas of a model with as many errors whose confidence says nothing, and
    everything, about them. With a threshold there are the ``coverage`` and ``precision`` at it, with their intervals.
    """
    probabilities = outputs.scaled(temperature).probabilities
    found = risk_coverage_of(probabilities, outputs.labels)
    right = outputs.predicted == outputs.labels
    metrics: dict[str, Any] = {
        "aurc": found.aurc,
        "aurc_random": 1 - right.double().mean().item(),
        "aurc_oracle": risk_coverage(right.double(), right).aurc,
        "threshold": None if threshold is None else threshold.probability,
    }
    if threshold is None:
        return metrics
    answered = probabilities.amax(dim=1) >= threshold.probability
    images, answers, hits = len(right), int(answered.sum()), int((right & answered).sum())
    masks = (torch.ones_like(right), answered, right & answered)
    all_of, said, right_of = (_counted(mask, outputs.subjects) for mask in masks)
    return metrics | {
        "answers": answers,
        "coverage": answers / images if images else math.nan,
        "precision": hits / answers if answers else math.nan,
        "intervals": {"coverage": rate_interval(said, all_of), "precision": rate_interval(right_of, said)},
    }


def _counted(mask: Tensor, subjects: Tensor | None) -> Tensor:
    """Number of images of ``mask`` ``(N,)``, or that of each subject."""
    return mask.sum() if subjects is None else by_subject(mask.long(), subjects, 2)[:, 1]


def logged_metrics(
    confusion: Tensor, loss: float, class_names: Sequence[str], split: str, suffix: str = ""
) -> dict[str, float]:
    """Name metrics as they are logged: ``split/f1_macro``, ``split_per_class/f1_happy`` and so on.

    Where the mean loss is no number, the model gave none for some image, and all metrics are nan. Where a class has no
    images, ``split/f1_macro_present`` is macro F1 over the others.

    Args:
        confusion: Confusion matrix of the epoch ``(classes, classes)``, rows true and columns predicted.
        loss: Mean loss of the epoch.
        class_names: Names in the order of the labels.
        split: ``train``, ``val`` or ``test``.
        suffix: End of every name but the loss; training counts a mixed image by its ``_dominant`` label.
    """
    named = {f"{split}/loss": loss}
    named |= {f"{split}/{name}{suffix}": value.item() for name, value in overall_metrics(confusion).items()}
    if not suffix and not (present := confusion.sum(dim=1) > 0).all():
        named[f"{split}/f1_macro_present"] = overall_metrics(confusion, present)["f1_macro"].item()
    for metric, values in per_class(confusion).items():
        for name, value in zip(class_names, values.tolist(), strict=True):
            named[f"{split}_per_class/{metric}_{name}{suffix}"] = value
    return dict.fromkeys(named, math.nan) if math.isnan(loss) else named
