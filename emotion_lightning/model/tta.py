"""Test-time augmentation: an image is classified in several views, and their probabilities are averaged."""

from collections.abc import Callable, Iterator
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms.v2.functional import ten_crop

TTA = Literal["none", "flip", "tencrop"]

CROP = 7 / 8
"""Side of a crop of ``tencrop``, as a share of the image's."""


def tta_logits(classify: Callable[[Tensor], Tensor], images: Tensor, tta: TTA) -> Tensor:
    """Classify ``images`` ``(B, 3, H, W)`` in every view; return logits float32 ``(B, classes)``.

    Args:
        classify: Turns images into logits ``(B, classes)``.
        images: Normalized images.
        tta: ``none`` looks at the image only, ``flip`` also at its mirror image, ``tencrop`` at its four corners, its
            middle and the mirror images of these five (Krizhevsky et al., 2012), each resized to the image's size.
    """
    if tta == "none":
        return classify(images).float()
    return averaged(torch.stack([classify(view) for view in views(images, tta)]))


def averaged(logits: Tensor) -> Tensor:
    """Average the probabilities of views: logits ``(views, B, classes)`` to logits float32 ``(B, classes)``."""
    return logits.float().log_softmax(dim=2).logsumexp(dim=0)  # the logarithm of the mean, up to a constant


def views(images: Tensor, tta: TTA) -> Iterator[Tensor]:
    """Yield the views of ``images``, each of their shape."""
    if tta == "none":
        yield images
        return
    if tta == "flip":
        yield from (images, images.flip(-1))
        return
    height, width = images.shape[-2:]
    for crop in ten_crop(images, [round(height * CROP), round(width * CROP)]):
        yield F.interpolate(crop, size=(height, width), mode="bilinear")  # upwards, where antialiasing does nothing
