"""Which images show what a model gets right and wrong; all are positions in its outputs, the most telling first."""

from torch import Tensor

from emotion_lightning.evaluation.outputs import EvalOutputs


def confident_mistakes(outputs: EvalOutputs, n: int) -> list[int]:
    """Wrong answers, the most confident first."""
    wrong = (outputs.predicted != outputs.labels) & outputs.answered
    return _largest(outputs.probabilities.max(dim=1).values, wrong, n)


def top_losses(outputs: EvalOutputs, n: int) -> list[int]:
    """Images whose label the model finds least likely: where wrong labels gather."""
    return _largest(outputs.losses, outputs.answered, n)


def most_confident(outputs: EvalOutputs, label: int, predicted: int, n: int) -> list[int]:
    """Images of class ``label`` taken for ``predicted``, the most confident first."""
    chosen = (outputs.labels == label) & (outputs.predicted == predicted)
    return _largest(outputs.probabilities[:, predicted], chosen, n)


def top_confusions(confusion: Tensor, n: int) -> list[tuple[int, int]]:
    """Pairs of a class and what it is taken for, the most frequent first; only such as occur."""
    wrong = confusion.clone().fill_diagonal_(0).flatten()
    order = wrong.argsort(descending=True, stable=True)[:n].tolist()
    return [divmod(cell, len(confusion)) for cell in order if wrong[cell] > 0]


def _largest(values: Tensor, among: Tensor, n: int) -> list[int]:
    order = values.argsort(descending=True, stable=True)
    chosen: list[int] = order[among[order]][:n].tolist()
    return chosen
