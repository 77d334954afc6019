"""What the data hands to the model: a batch, the label of padding, and how images are normalized."""

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from emotion_lightning.errors import DataError

Batch = tuple[Tensor, Tensor, Tensor]
"""Images ``(B, 3, H, W)`` float, labels and the images' positions in the manifest ``(B,)``.

Labels are classes ``(B,)``, or in training how many people voted for each class ``(B, classes)``, whole numbers: what
is a fraction would lose digits under ``bf16-true``.
"""

IGNORE_INDEX = -1
"""Label of a row that only fills up a rank's last batch; it counts in no metric."""


def class_of(labels: Tensor) -> Tensor:
    """Return the class ``(B,)`` that each label of a batch is, or has the most votes for."""
    return labels if labels.ndim == 1 else labels.argmax(dim=1)


def check_labels(labels: Tensor, classes: int) -> None:
    """Refuse labels ``(B,)`` that are no positions of so many classes.

    Raises:
        DataError: There is one.
    """
    low, high = (int(edge) for edge in labels.aminmax()) if len(labels) else (0, 0)
    if low < 0 or high >= classes:
        raise DataError(
            f"labels from {low} to {high}: with {classes} classes the model takes those from 0 to {classes - 1}, "
            "positions in its class_names"
        )


class Normalization(NamedTuple):
    """Mean and standard deviation of red, green and blue in [0, 1], by which a network's input is normalized."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


IMAGENET = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def normalize(images: Tensor, by: Normalization = IMAGENET) -> Tensor:
    """Turn images ``(B, 3, H, W)`` in [0, 1] into those that a network takes."""
    mean, std = (constant(values, images.device).view(1, 3, 1, 1) for values in by)
    return (images - mean) / std


def denormalize(images: Tensor, by: Normalization = IMAGENET) -> Tensor:
    """Turn normalized images ``(B, 3, H, W)`` into pictures to look at, uint8 of the same shape."""
    mean, std = (constant(values, images.device).view(1, 3, 1, 1) for values in by)
    return ((images.float() * std + mean) * 255).round().clamp(0, 255).to(torch.uint8)


@lru_cache
def constant(values: tuple[float, ...] | tuple[tuple[float, ...], ...], device: torch.device) -> Tensor:
    """Return ``values`` as a tensor on ``device``, always the same one."""
    return torch.tensor(values, device=device)  # once per device: sending it anew would wait for the device
