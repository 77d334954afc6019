"""Doubtful labels by confident learning (Northcutt, Jiang and Chuang, 2021)."""

from typing import NamedTuple

import torch
from torch import Tensor

ROUNDING = 1e-6
"""How far below a threshold counts as reached: the mean of equal probabilities may be above them."""


class Doubts(NamedTuple):
    """What confident learning finds in labels.

    Attributes:
        order: Positions of all images, the most doubtful first: those of ``doubtful``, then the others, each by how far
            the probability of their label is below that of the likeliest other class ``(N,)``. By the probability of
            the label alone, a label in place of the class that it is often taken for would come late.
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
    likeliest_other = probabilities.scatter(1, labels[:, None], -1.0).max(dim=1).values
    by_margin = (own - likeliest_other).argsort(stable=True)
    order = by_margin[(~doubtful[by_margin]).to(torch.uint8).argsort(stable=True)]
    return Doubts(order, doubtful, joint)
