"""Pictures for TensorBoard: sheets of images with captions, and confusion matrices, as arrays of pixels."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from emotion_lightning.data.images import sheet
from emotion_lightning.data.images.sheet import Picture
from emotion_lightning.evaluation.examples import confident_mistakes, most_confident
from emotion_lightning.evaluation.gradcam import gradcam_overlay
from emotion_lightning.evaluation.outputs import EvalOutputs
from emotion_lightning.report.charts import confusion_matrix
from emotion_lightning.runtime.fonts import without_boxes

Faces = Callable[[Sequence[int]], Tensor]
"""Gives the images at positions of the data, uint8 ``(n, 3, size, size)``."""

SHOWN = 16
"""Most images on a sheet."""

EXPLAINED = 2
"""Faces of each class with a heat map."""

CONFUSION_DPI = 110


def mistakes(outputs: EvalOutputs, faces: Faces, class_names: Sequence[str]) -> Picture | None:
    """Show the most confident mistakes; None if there are none."""
    rows = confident_mistakes(outputs, SHOWN)
    if not rows:
        return None
    labels, predicted = outputs.labels[rows].tolist(), outputs.predicted[rows].tolist()
    certain = outputs.probabilities[rows].amax(dim=1).tolist()
    captions = [
        f"{class_names[label]} ->\n{class_names[wrong]} {probability:.2f}"
        for label, wrong, probability in zip(labels, predicted, certain, strict=True)
    ]
    return sheet.contact_sheet(faces(outputs.indices[rows].tolist()), captions)


def heat_maps(model: nn.Module, outputs: EvalOutputs, faces: Faces, class_names: Sequence[str]) -> Picture | None:
    """Show the most confident right answers of each class, each beside its Grad-CAM; None if no answer is right.

    Args:
        model: The model that gave ``outputs``.
        outputs: Its outputs.
        faces: Gives the images.
        class_names: Names of the emotions.
    """
    rows = [row for label in range(len(class_names)) for row in most_confident(outputs, label, label, EXPLAINED)]
    if not rows:
        return None
    labels, images = outputs.labels[rows], faces(outputs.indices[rows].tolist())
    pairs = torch.stack([images, gradcam_overlay(model, images, labels)], dim=1).flatten(0, 1)
    certain = outputs.probabilities[rows, labels].tolist()
    named = zip(labels.tolist(), certain, strict=True)
    captions = [text for label, p in named for text in (f"{class_names[label]} {p:.2f}", "")]
    return sheet.contact_sheet(pairs, captions, columns=2 * EXPLAINED)


def confusion(outputs: EvalOutputs, class_names: Sequence[str], normalized: bool) -> Picture:
    """Draw the confusion matrix, in images or as shares of each true class, on white."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = confusion_matrix(outputs.confusion, class_names, normalized).figure
    figure.patch.set(facecolor="white", alpha=1)
    figure.set_dpi(CONFUSION_DPI)
    canvas = FigureCanvasAgg(figure)
    with without_boxes(figure):
        canvas.draw()  # type: ignore[no-untyped-call]
    return np.asarray(canvas.buffer_rgba())[..., :3]  # type: ignore[no-untyped-call]
