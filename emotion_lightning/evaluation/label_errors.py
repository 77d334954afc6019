"""Doubtful labels by confident learning (Northcutt, Jiang and Chuang, 2021)."""

from typing import NamedTuple

import torch
from torch import Tensor

ROUNDING = 1e-6
"""How far below a threshold counts as reached: the mean of equal probabilities may be above them."""


class Doubts(NamedTuple):
    """What confident learning finds in labels.

    Attributes:
        order: Positions of all images, the most doubtful first: those of ``doubtful``, then the others, each by the
            probability of their label ``(N,)``.
        doubtful: Which images are confidently of another class than their label, bool ``(N,)``.
        joint: How many images of each label (rows) are confidently of each class ``(classes, classes)``.
    """

    order: Tensor
    doubtful: Tensor
    joint: Tensor


def find_doubts(probabilities: Tensor, labels: Tensor) -> Doubts:
    """Rank labels by how much a model doubts them that has not learned them.

    An image is confidently of a class if its probability is at least the mean one that the images labeled so have
    (section 3.1 of the paper); of several such classes, the most probable counts. A label is doubtful if the image is
    confidently of another class, and the model's answer is not the label.

    Args:
        probabilities: Probability of each class ``(N, classes)``, by a model that was not trained on the image.
        labels: Class of each image ``(N,)``.
    """
    classes = probabilities.shape[1]
    own = probabilities.gather(1, labels[:, None]).squeeze(1)
    sums = torch.zeros(classes, dtype=own.dtype).index_add_(0, labels, own)
    thresholds = sums / labels.bincount(minlength=classes)  # nan for a class without images, which nothing reaches
    confident = probabilities >= thresholds - ROUNDING
    guess = probabilities.where(confident, -1.0).argmax(dim=1)
    sure = confident.any(dim=1)
    joint = (labels[sure] * classes + guess[sure]).bincount(minlength=classes**2).view(classes, classes)
    doubtful = sure & (guess != labels) & (probabilities.argmax(dim=1) != labels)
    by_own = own.argsort(stable=True)
    order = by_own[(~doubtful[by_own]).to(torch.uint8).argsort(stable=True)]
    return Doubts(order, doubtful, joint)
