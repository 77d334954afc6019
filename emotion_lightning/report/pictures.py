"""What TensorBoard shows as pictures: batches, mixed images, mistakes, heat maps and confusion matrices."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from emotion_lightning.batch import denormalize
from emotion_lightning.evaluation.examples import confident_mistakes, most_confident
from emotion_lightning.evaluation.gradcam import gradcam_overlay
from emotion_lightning.evaluation.outputs import EvalOutputs
from emotion_lightning.model.mix import MixedLabels
from emotion_lightning.report.charts import confusion_matrix
from emotion_lightning.report.contact_sheet import Picture, contact_sheet

SHOWN = 16
"""Most images on a sheet."""

MIXED = 8
"""Most mixed images on a sheet."""

EXPLAINED = 2
"""Faces of each class with a heat map."""

CONFUSION_DPI = 110

Faces = Callable[[Sequence[int]], Tensor]
"""Gives the images at positions of the data, uint8 ``(n, 3, size, size)``."""


def batch_as_seen(images: Tensor, labels: Tensor, class_names: Sequence[str]) -> Picture:
    """Show normalized images ``(B, 3, H, W)`` of a batch with their labels ``(B,)``."""
    return contact_sheet(denormalize(images[:SHOWN]), [class_names[label] for label in labels[:SHOWN].tolist()])


def mixed_batch(images: Tensor, mixed: MixedLabels, class_names: Sequence[str]) -> Picture:
    """Show mixed, normalized images ``(B, 3, H, W)`` with both labels and their weights."""
    pairs = zip(mixed.labels[:MIXED].tolist(), mixed.partners[:MIXED].tolist(), strict=True)
    captions = [mixed_caption(class_names[first], class_names[second], mixed.weight) for first, second in pairs]
    return contact_sheet(denormalize(images[:MIXED]), captions)


def mixed_caption(first: str, second: str, weight: float) -> str:
    """Say what an image was mixed from, ``weight`` of it of the class ``first``."""
    return f"{weight:.2f} {first}\n+ {1 - weight:.2f} {second}"


def mistakes(outputs: EvalOutputs, faces: Faces, class_names: Sequence[str]) -> Picture | None:
    """Show what the model is most certain of, and wrong; None without mistakes."""
    rows = confident_mistakes(outputs, SHOWN)
    if not rows:
        return None
    labels, predicted = outputs.labels[rows].tolist(), outputs.predicted[rows].tolist()
    certain = outputs.probabilities[rows].amax(dim=1).tolist()
    captions = [
        f"{class_names[label]} ->\n{class_names[wrong]} {probability:.2f}"
        for label, wrong, probability in zip(labels, predicted, certain, strict=True)
    ]
    return contact_sheet(faces(outputs.indices[rows].tolist()), captions)


def heat_maps(model: nn.Module, outputs: EvalOutputs, faces: Faces, class_names: Sequence[str]) -> Picture | None:
    """Show for each class the faces it is most rightly certain of, and what in them speaks for it (Grad-CAM).

    Args:
        model: The model that gave ``outputs``.
        outputs: What it said.
        faces: Gives the images.
        class_names: Names of the emotions.

    Returns:
        Each face beside its heat map; None if no answer is right.
    """
    rows = [row for label in range(len(class_names)) for row in most_confident(outputs, label, label, EXPLAINED)]
    if not rows:
        return None
    labels, images = outputs.labels[rows], faces(outputs.indices[rows].tolist())
    pairs = torch.stack([images, gradcam_overlay(model, images, labels)], dim=1).flatten(0, 1)
    certain = outputs.probabilities[rows, labels].tolist()
    named = zip(labels.tolist(), certain, strict=True)
    captions = [text for label, p in named for text in (f"{class_names[label]} {p:.2f}", "")]
    return contact_sheet(pairs, captions, columns=2 * EXPLAINED)


def confusion(outputs: EvalOutputs, class_names: Sequence[str], normalized: bool) -> Picture:
    """Draw the confusion matrix, in images or as shares of each true class, on white."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = confusion_matrix(outputs.confusion, class_names, normalized).figure
    figure.patch.set(facecolor="white", alpha=1)
    figure.set_dpi(CONFUSION_DPI)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    return np.asarray(canvas.buffer_rgba())[..., :3]  # type: ignore[no-untyped-call]
