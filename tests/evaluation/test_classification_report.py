import numpy as np
import pytest
import torch
from sklearn import metrics

from emotion_lightning.evaluation.classification_report import classification_report

NAMES = ("angry", "disgust", "happy")


@pytest.mark.parametrize("confusion", [[[30, 2, 5], [4, 1, 0], [7, 0, 80]], [[5, 0, 0], [0, 0, 0], [2, 0, 9]]])
def test_every_figure_is_that_of_scikit_learn(confusion: list[list[int]]) -> None:
    true = np.repeat(np.arange(3), np.sum(confusion, axis=1))
    predicted = np.concatenate([np.repeat(np.arange(3), row) for row in confusion])
    theirs = metrics.classification_report(true, predicted, labels=[0, 1, 2], target_names=NAMES, zero_division=0)
    ours = classification_report(torch.tensor(confusion), NAMES)
    ours_rows = [line.split() for line in ours.splitlines() if line.strip()]
    theirs_rows = [line.split() for line in theirs.splitlines() if line.strip()]
    accuracy = next(row for row in theirs_rows if row[0] in ("accuracy", "micro"))
    assert ours_rows[:4] == theirs_rows[:4]
    assert ours_rows[4][1:] == accuracy[-2:]
    assert ours_rows[5:] == theirs_rows[5:]


def test_of_a_part_classes_without_images_are_left_out() -> None:
    confusion = torch.tensor([[5, 1, 0], [0, 0, 0], [2, 0, 9]])
    rows = [line.split() for line in classification_report(confusion, NAMES, subset=True).splitlines() if line.strip()]
    assert [row[0] for row in rows] == ["precision", "angry", "happy", "accuracy", "macro", "weighted"]
    macro = f1_of(confusion)[[0, 2]].mean()
    assert rows[4][-2] == f"{macro:.2f}"


def f1_of(confusion: torch.Tensor) -> torch.Tensor:
    return 2 * confusion.diagonal() / (confusion.sum(dim=0) + confusion.sum(dim=1))
