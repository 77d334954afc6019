"""Outputs of a model for every image of a split, kept on the device until the epoch ends."""

from typing import NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from emotion_lightning.batch import IGNORE_INDEX, check_labels
from emotion_lightning.evaluation.confusion import confusion_matrix

NO_CLASS = -1
"""What is predicted for an image for which the model gave no numbers."""

COLLECTED = ("logits", "labels", "indices")
"""What is gathered of each image."""


class EvalOutputs(NamedTuple):
    """Logits float64 ``(N, classes)``, labels ``(N,)`` and positions in the data ``(N,)``, in the data's order.

    ``subjects`` numbers the subject of each image from 0, or the family of copies that it is of, ``(N,)``; an image
    without one has a number of its own. None where no image has one.
    """

    logits: Tensor
    labels: Tensor
    indices: Tensor
    subjects: Tensor | None = None

    def where(self, mask: Tensor) -> "EvalOutputs":
        """The images of ``mask``, bool ``(N,)``."""
        subjects = None if self.subjects is None else self.subjects[mask]
        return EvalOutputs(self.logits[mask], self.labels[mask], self.indices[mask], subjects)

    @property
    def probabilities(self) -> Tensor:
        """Softmax of the logits, float64 ``(N, classes)``."""
        return self.logits.softmax(dim=1)

    def scaled(self, temperature: float) -> "EvalOutputs":
        """The same with logits divided by ``temperature``, of which the probabilities are calibrated."""
        return self._replace(logits=self.logits / temperature)

    @property
    def answered(self) -> Tensor:
        """Which images have probabilities, bool ``(N,)``; those of a model that has diverged are nan."""
        return ~self.probabilities.isnan().any(dim=1)

    @property
    def losses(self) -> Tensor:
        """Cross-entropy of each image ``(N,)``."""
        return -self.logits.log_softmax(dim=1).gather(1, self.labels[:, None]).squeeze(1)

    @property
    def predicted(self) -> Tensor:
        """Most probable class of each image ``(N,)``; ``NO_CLASS`` without an answer."""
        return self.logits.argmax(dim=1).where(self.answered, NO_CLASS)

    @property
    def confusion(self) -> Tensor:
        """Confusion matrix ``(classes, classes)`` of the answers, rows true and columns predicted."""
        predicted = self.predicted
        answered = predicted != NO_CLASS
        return confusion_matrix(self.labels[answered], predicted[answered], self.logits.shape[1])

    @property
    def confusions(self) -> Tensor:
        """The same of each subject ``(subjects, classes, classes)``, or of all images where no subjects are known."""
        if self.subjects is None:
            return self.confusion
        answered, classes = self.predicted != NO_CLASS, self.logits.shape[1]
        cells = (self.labels * classes + self.predicted)[answered]
        return by_subject(cells, self.subjects[answered], classes**2).view(-1, classes, classes)


def by_subject(cells: Tensor, subjects: Tensor, count: int) -> Tensor:
    """Count how often each subject has each of so many cells, ``(subjects, count)``; those with no image are absent.

    Args:
        cells: What each image counts as, from 0, ``(N,)``.
        subjects: The subject of each image ``(N,)``.
        count: Number of cells.
    """
    present, places = torch.unique(subjects, return_inverse=True)
    counts: Tensor = (places * count + cells).bincount(minlength=len(present) * count).view(-1, count)
    return counts


def count_of(subjects: Tensor) -> int:
    """Number of different subjects ``(N,)``."""
    return len(torch.unique(subjects))


class OutputCollector(Metric):
    """Gathers the outputs of an epoch over batches and ranks, without waiting for the device."""

    full_state_update = False
    logits: list[Tensor]
    labels: list[Tensor]
    indices: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        for name in COLLECTED:
            self.add_state(name, [], dist_reduce_fx="cat")

    def update(self, logits: Tensor, labels: Tensor, indices: Tensor) -> None:
        """Add a batch: logits ``(B, classes)``, labels ``(B,)`` and positions in the data ``(B,)``."""
        for name, values in zip(COLLECTED, (logits, labels, indices), strict=True):
            getattr(self, name).append(values)

    def compute(self) -> EvalOutputs:
        """Put the rows of all ranks into the data's order, on the CPU; padding is left out.

        Raises:
            DataError: A label is no class.
        """
        logits, labels, indices = (dim_zero_cat(getattr(self, name)).cpu() for name in COLLECTED)
        order = torch.argsort(indices)
        order = order[labels[order] != IGNORE_INDEX]
        check_labels(labels[order], logits.shape[1])  # here, so that no step waits for a GPU
        return EvalOutputs(logits[order].double(), labels[order], indices[order])

    def outputs(self) -> EvalOutputs:
        """Return what ``compute`` does, and of a single image too, whose label torchmetrics makes a scalar."""
        logits, labels, indices, _ = self.compute()
        return EvalOutputs(logits, labels.view(-1), indices.view(-1))
