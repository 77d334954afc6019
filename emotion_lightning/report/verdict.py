"""Which of two groups of runs is better, in a sentence that says whether the difference is larger than chance."""

from collections.abc import Sequence
from math import comb
from statistics import mean

from torch import Tensor

from emotion_lightning.evaluation.intervals import paired_intervals
from emotion_lightning.evaluation.significance import permutation_test
from emotion_lightning.report.results import SplitResults

RANKED = "f1_macro"
"""The metric by which runs are ranked."""

SIGNIFICANT = 0.05


def same_measured(ours: SplitResults, theirs: SplitResults) -> bool:
    """Say whether two measurements are of the same images, known by their content, with the same labels."""
    known = ours.metrics.get("images") is not None and ours.metrics["images"] == theirs.metrics.get("images")
    if not known or (ours.names, ours.class_names) != (theirs.names, theirs.class_names):
        return False
    return bool((ours.outputs.labels == theirs.outputs.labels).all())


def subjects_of(ours: SplitResults, theirs: SplitResults) -> Tensor | None:
    """The subject of each image of two measurements of the same images, as either knows it; None where neither does."""
    return theirs.outputs.subjects if ours.outputs.subjects is None else ours.outputs.subjects


def verdict(best: str, ours: Sequence[SplitResults], next_best: str, theirs: Sequence[SplitResults]) -> str:
    """Say by how much the runs ``ours`` are better than ``theirs``, and whether by more than chance.

    Args:
        best: What ours are called.
        ours: Results of each run of the better group.
        next_best: What theirs are called.
        theirs: Results of each run of the other.
    """
    scores = [[float(each.metrics[RANKED]) for each in group] for group in (ours, theirs)]
    first, second = map(mean, scores)
    return f"{best} is best: macro F1 {first:.4f}, then {next_best}, {second:.4f}. {_chance(ours, theirs, scores)}"


def _chance(ours: Sequence[SplitResults], theirs: Sequence[SplitResults], scores: Sequence[Sequence[float]]) -> str:
    images = [{each.metrics.get("images") for each in group} for group in (ours, theirs)]
    if images[0] != images[1] or None in images[0]:
        return "They were measured on different images, which may be all of the difference."
    counts = [len(group) for group in (ours, theirs)]
    if counts == [1, 1]:
        return _over_images(ours[0], theirs[0])
    if 1 in counts:
        return "One of them is a single run, so whether it is larger than chance is unknown: give it more seeds."
    p, least = permutation_test(*scores), 1 / comb(sum(counts), counts[0]) * (2 if counts[0] == counts[1] else 1)
    found = "larger than chance" if p < SIGNIFICANT else "not larger than chance"
    few = f"; with so few runs p is at least {least:.2g}" if least >= SIGNIFICANT else ""
    return f"This is {found} (p = {p:.2g}, permutation test of {counts[0]} against {counts[1]} runs{few})."


def _over_images(ours: SplitResults, theirs: SplitResults) -> str:
    if not same_measured(ours, theirs):
        return "They were measured with different labels, which may be all of the difference."
    first, second = ours.outputs, theirs.outputs
    if not (first.answered & second.answered).all():
        return "One of them answered some images with NaN, so whether it is larger than chance is unknown."
    answers = (first.labels, first.predicted, second.predicted, len(ours.class_names))
    low, high = paired_intervals(*answers, subjects_of(ours, theirs))[RANKED]
    found = "larger than chance" if low > 0 else "not larger than chance"
    return (
        f"Over these images this is {found} (95 % interval of the difference {low:.4f} to {high:.4f}); it is one run "
        "of each, and says nothing about other seeds."
    )
