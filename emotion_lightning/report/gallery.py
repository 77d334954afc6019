"""Faces that show what a model gets right and wrong, chosen from its outputs and made small enough for a page."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor

from emotion_lightning.data.images.data_uri import data_uri
from emotion_lightning.evaluation.examples import confident_mistakes, most_confident, top_confusions, top_losses
from emotion_lightning.evaluation.outputs import EvalOutputs

MISTAKES = 24
"""Faces in each of the galleries of confident mistakes and of highest losses."""

CONFUSIONS, EACH = 6, 6
"""Pairs of classes that are shown, and faces of each."""

RIGHT, WRONG = 3, 1
"""Faces of each class with a Grad-CAM picture: right answers and wrong ones."""

SIDE = 112
"""Most pixels of a face on a page, in width and height."""

BATCH = 16


class GalleryItem(NamedTuple):
    """A face to show: its gallery, its row in the outputs, and whether to show Grad-CAM beside it."""

    gallery: str
    row: int
    heat: bool = False


def select_examples(outputs: EvalOutputs) -> list[GalleryItem]:
    """Choose faces for the galleries ``mistakes``, ``losses``, ``confusion TRUE PREDICTED`` and ``gradcam CLASS``."""
    mistakes = confident_mistakes(outputs, MISTAKES)
    losses = [row for row in top_losses(outputs, 2 * MISTAKES) if row not in mistakes][:MISTAKES]
    chosen = [GalleryItem("mistakes", row) for row in mistakes] + [GalleryItem("losses", row) for row in losses]
    for label, predicted in top_confusions(outputs.confusion, CONFUSIONS):
        rows = most_confident(outputs, label, predicted, EACH)
        chosen += [GalleryItem(f"confusion {label} {predicted}", row) for row in rows]
    wrong = confident_mistakes(outputs, len(outputs.labels))
    for label in range(outputs.logits.shape[1]):
        rows = (
            most_confident(outputs, label, label, RIGHT)
            + [row for row in wrong if outputs.labels[row] == label][:WRONG]
        )
        chosen += [GalleryItem(f"gradcam {label}", row, heat=True) for row in rows]
    return chosen


def render_examples(
    choices: Sequence[GalleryItem],
    outputs: EvalOutputs,
    names: Sequence[str],
    read: Callable[[Sequence[int]], Tensor],
    overlay: Callable[[Tensor, Tensor], Tensor],
) -> list[dict[str, Any]]:
    """Say and show of each chosen face what it is and what the model made of it, in plain types.

    Args:
        choices: What :func:`select_examples` chose.
        outputs: Outputs of the model.
        names: Path of each image of ``outputs``.
        read: Gives the images uint8 ``(n, 3, H, W)`` at positions in the data.
        overlay: Lays over such images what speaks for the given classes ``(n,)``; gives images again.
    """
    pictures = dict(_pictures(choices, outputs, read, overlay))
    probabilities, losses, predicted = outputs.probabilities, outputs.losses, outputs.predicted
    return [
        {
            "gallery": choice.gallery,
            "filepath": names[choice.row],
            "label": int(outputs.labels[choice.row]),
            "predicted": int(predicted[choice.row]),
            "probability": probabilities[choice.row].max().item(),
            "loss": losses[choice.row].item(),
            "picture": pictures[choice.row, False],
            "heat": pictures.get((choice.row, choice.heat)) if choice.heat else None,
        }
        for choice in choices
    ]


def _pictures(
    choices: Sequence[GalleryItem],
    outputs: EvalOutputs,
    read: Callable[[Sequence[int]], Tensor],
    overlay: Callable[[Tensor, Tensor], Tensor],
) -> Iterator[tuple[tuple[int, bool], str]]:
    heated = {choice.row for choice in choices if choice.heat}
    rows = sorted({choice.row for choice in choices}, key=lambda row: (row not in heated, row))
    for start in range(0, len(rows), BATCH):
        batch = rows[start : start + BATCH]
        images = read(outputs.indices[batch].tolist())
        yield from (((row, False), _uri(image)) for row, image in zip(batch, images, strict=True))
        hot = [place for place, row in enumerate(batch) if row in heated]
        if hot:
            laid = overlay(images[hot], outputs.predicted[torch.tensor(batch)[hot]])
            yield from (((batch[place], True), _uri(image)) for place, image in zip(hot, laid, strict=True))


def _uri(image: Tensor) -> str:
    return data_uri(Image.fromarray(image.permute(1, 2, 0).cpu().numpy()), SIDE, "JPEG", quality=88)
