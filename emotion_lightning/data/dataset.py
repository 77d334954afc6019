"""A torch data set of faces: images by their position in the manifest, as small squares."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from emotion_lightning.data.images import to_tensor
from emotion_lightning.evaluation.metrics import PADDING

Sample = tuple[Tensor, int, int]


@dataclass(frozen=True)
class FaceDataset(Dataset[Sample]):
    """Images by their position in the manifest, resized to a square; it knows neither epoch nor randomness.

    Args:
        read: Reads the image at a position.
        labels: Label of each position.
        size: Side of the square in pixels.
    """

    read: Callable[[int], Image.Image]
    labels: Sequence[int]
    size: int

    def __getitem__(self, index: int) -> Sample:
        """Return image uint8 ``(3, size, size)``, label and position; for padding, a black image with its label."""
        if index == PADDING:
            return torch.zeros(3, self.size, self.size, dtype=torch.uint8), PADDING, PADDING
        return to_tensor(self.read(index), self.size), self.labels[index], index
