"""Pictures for TensorBoard: sheets of images with captions, and confusion matrices, as arrays of pixels."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn

from emotion_lightning.evaluation.examples import confident_mistakes, most_confident
from emotion_lightning.evaluation.gradcam import gradcam_overlay
from emotion_lightning.evaluation.outputs import EvalOutputs
from emotion_lightning.report.charts import confusion_matrix
from emotion_lightning.report.fonts import fonts_for, without_boxes

Picture = NDArray[np.uint8]
"""RGB picture ``(height, width, 3)``."""

Faces = Callable[[Sequence[int]], Tensor]
"""Gives the images at positions of the data, uint8 ``(n, 3, size, size)``."""

SHOWN = 16
"""Most images on a sheet."""

EXPLAINED = 2
"""Faces of each class with a heat map."""

SIDE, LINE, GAP = 128, 20, 8
"""Side of an image, height of a line of its caption and space between images, in pixels."""

CONFUSION_DPI = 110


def contact_sheet(images: Tensor, captions: Sequence[str], columns: int = 4) -> Picture:
    """Put images in rows, each above its caption, on white.

    Args:
        images: RGB ``(N, 3, H, W)`` uint8, H = W and N at least 1; each is shown with 128 pixels a side.
        captions: Text of each image, of one or several lines.
        columns: Images in a row.
    """
    columns = min(columns, len(images))
    width, height = SIDE + GAP, SIDE + GAP + LINE * max(caption.count("\n") + 1 for caption in captions)
    sheet = Image.new("RGB", (columns * width + GAP, -(-len(images) // columns) * height + GAP), "white")
    pen, font = ImageDraw.Draw(sheet), _font("".join(captions))
    for number, (pixels, caption) in enumerate(zip(images.movedim(1, -1).cpu().numpy(), captions, strict=True)):
        x, y = GAP + number % columns * width, GAP + number // columns * height
        sheet.paste(Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BICUBIC), (x, y))
        pen.multiline_text((x, y + SIDE + 1), caption, fill="black", font=font, spacing=2)
    return np.asarray(sheet)


def _font(text: str) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font or, as it has Latin letters only, the last of those that ``text`` needs."""
    if text.isascii():
        return ImageFont.load_default(LINE - 4)
    return ImageFont.truetype(list(fonts_for(frozenset(text) - {"\n"}).values())[-1], LINE - 4)


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
    return contact_sheet(faces(outputs.indices[rows].tolist()), captions)


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
    return contact_sheet(pairs, captions, columns=2 * EXPLAINED)


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
