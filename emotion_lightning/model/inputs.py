"""What the model takes: the batches of ``EmotionDataModule``, and those of any other loader."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from emotion_lightning.batch import IMAGENET, Batch, Normalization, check_labels, normalize
from emotion_lightning.errors import DataError


def as_images(images: Tensor, normalization: Normalization = IMAGENET) -> Tensor:
    """Return images as a network takes them: normalized, float ``(B, 3, H, W)``.

    Args:
        images: Normalized floats, which are returned as they are; or pixels, whole numbers from 0 to 255 of any type.
        normalization: What pixels are normalized by.

    Raises:
        DataError: They have another shape.
    """
    if images.ndim != 4 or images.shape[1] != 3:
        raise DataError(
            f"images of shape {tuple(images.shape)}: the model takes (B, 3, H, W); give a single image as image[None], "
            "gray images as images.expand(-1, 3, -1, -1)"
        )
    return images if images.is_floating_point() else normalize(images.float() / 255, normalization)


def as_batch(
    batch: Any, first: int, labeled: bool = True, classes: int | None = None, normalization: Normalization = IMAGENET
) -> Batch:
    """Return images, labels and positions of a batch of any loader.

    Args:
        batch: Those three, or images and labels, or images alone where none need be ``labeled``.
        first: Position of the first image, from which those without one are counted.
        labeled: Whether labels are needed; where they are not, what is returned in their place means nothing.
        classes: Number of classes, by which labels on a CPU are checked; on a GPU each step would wait for it.
        normalization: What pixels are normalized by.

    Raises:
        DataError: It is something else.
    """
    parts: Any = (batch,) if isinstance(batch, Tensor) else batch
    if not isinstance(parts, tuple | list) or not _are_known(parts, labeled):
        kinds = f" of {', '.join(type(part).__name__ for part in batch)}" if isinstance(batch, tuple | list) else ""
        raise DataError(
            f"a batch is a {type(batch).__name__}{kinds}: the model takes (images, labels), tensors (B, 3, H, W) and "
            "(B,)"
        )
    images = as_images(parts[0], normalization)
    if len(parts) == 3:
        return images, parts[1], parts[2]
    positions = torch.arange(first, first + len(images), device=images.device)
    if not labeled:
        return images, positions, positions
    labels = parts[1]
    if labels.shape != positions.shape or labels.is_floating_point():
        raise DataError(
            f"labels {labels.dtype} of shape {tuple(labels.shape)} beside {len(images)} images: the model takes whole "
            "numbers (B,), positions in its class_names"
        )
    if classes is not None and labels.device.type == "cpu":
        check_labels(labels, classes)
    return images, labels.long(), positions


def _are_known(parts: Sequence[Any], labeled: bool) -> bool:
    """Say whether they are as many tensors as a batch has; labels that are not needed may be anything."""
    needed = parts if labeled else [part for place, part in enumerate(parts) if place != 1]
    return 1 + labeled <= len(parts) <= 3 and all(isinstance(part, Tensor) for part in needed)
