"""What the model takes: the batches of ``EmotionDataModule``, and those of any other loader."""

from typing import Any

import torch
from torch import Tensor

from emotion_lightning.batch import Batch, normalize
from emotion_lightning.errors import DataError


def as_images(images: Tensor) -> Tensor:
    """Return images as a network takes them: float ``(B, 3, H, W)``, normalized with ImageNet's mean and deviation.

    Args:
        images: Normalized floats, which are returned as they are; or pixels, whole numbers from 0 to 255 of any type.

    Raises:
        DataError: They have another shape.
    """
    if images.ndim != 4 or images.shape[1] != 3:
        raise DataError(
            f"images of shape {tuple(images.shape)}: the model takes (B, 3, H, W); give a single image as image[None], "
            "gray images as images.expand(-1, 3, -1, -1)"
        )
    return images if images.is_floating_point() else normalize(images.float() / 255)


def as_batch(batch: Any, first: int, labeled: bool = True) -> Batch:
    """Return images, labels and positions of a batch of any loader.

    Args:
        batch: Those three, or images and labels, or images alone where none need be ``labeled``.
        first: Position of the first image, from which those without one are counted.
        labeled: Whether labels are needed; where they are not, what is returned in their place means nothing.

    Raises:
        DataError: It is something else.
    """
    parts = (batch,) if isinstance(batch, Tensor) else batch
    if not isinstance(parts, tuple | list) or not (1 + labeled) <= len(parts) <= 3:
        raise DataError(
            f"a batch is a {type(batch).__name__}: the model takes (images, labels), tensors (B, 3, H, W) and (B,)"
        )
    images = as_images(parts[0])
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
    return images, labels.long(), positions
