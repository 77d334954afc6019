"""What a report says first, in words: how good the model is, its worst class, and what to try next."""

import re
import shlex

from markupsafe import Markup, escape
from torch import Tensor

from emotion_lightning.evaluation.intervals import class_f1_intervals, rate_interval
from emotion_lightning.report.advice import advice
from emotion_lightning.report.results import SplitResults
from emotion_lightning.report.run import Run

UNEVEN = 1.2
"""How many times the share that chance gives a class the largest must have to be told."""


def headline(run: Run, results: SplitResults) -> str:
    """Say the accuracy, what needs no model, and the best epoch, counted from 1."""
    metrics = results.metrics
    support = {name: row["support"] for name, row in metrics["per_class"].items()}
    classes, images = sum(count > 0 for count in support.values()), max(1, metrics["n"])
    largest = max(support, key=lambda name: support[name])
    said = f"Accuracy {_figure(metrics['accuracy'])} on {classes} classes, chance {1 / max(1, classes):.2f}"
    if support[largest] * classes > UNEVEN * images:
        said += f", always {largest} {support[largest] / images:.2f}"
    return said if run.best_epoch is None else f"{said}; best at epoch {run.best_epoch + 1} of {run.epochs}"


def worst_class(results: SplitResults) -> str:
    """Say which class has the lowest F1, how many of its images are recognized, and what the others are taken for."""
    rows = {name: row for name, row in results.metrics["per_class"].items() if row["support"] and row["f1"] is not None}
    name = min(rows, key=lambda each: (rows[each]["f1"], -rows[each]["support"]), default=None)
    if name is None or rows[name]["f1"] != rows[name]["f1"]:
        return ""
    label, names = results.class_names.index(name), results.class_names
    counts = results.outputs.confusion[label].tolist()
    said = f"{name}, F1 {rows[name]['f1']:.2f}: {counts[label]:,} of {sum(counts):,} images recognized"
    taken, count = max(((each, n) for each, n in enumerate(counts) if each != label), key=lambda pair: pair[1])
    return f"{said}, {count / sum(counts):.0%} taken for {names[taken]}" if count else said


def coached(run: Run) -> list[Markup]:
    """Advice, with options as the command line takes them."""
    split = run.results.get("val") or next(iter(run.results.values()))
    return [options_marked(text) for text in advice(run, split.metrics)]


def options_marked(text: str) -> Markup:
    """Mark options in back-quotes, as the command line takes them."""
    return Markup(re.sub("`(.+?)`", _option, str(escape(text))))


def class_intervals(confusion: Tensor) -> list[dict[str, tuple[float, float]]]:
    """95 % intervals of each class's precision and recall, by Wilson, and of its F1, by the bootstrap.

    Args:
        confusion: Confusion matrix ``(classes, classes)``, or that of each subject ``(subjects, classes, classes)``.
    """
    counts = (confusion.diagonal(dim1=-2, dim2=-1), confusion.sum(dim=-2), confusion.sum(dim=-1))
    hits, predicted, true = (each.unbind(dim=-1) for each in counts)
    return [
        {"precision": rate_interval(hit, said), "recall": rate_interval(hit, are), "f1": f1}
        for hit, said, are, f1 in zip(hits, predicted, true, class_f1_intervals(confusion), strict=True)
    ]


def _option(found: re.Match[str]) -> str:
    name, _, value = Markup(found[1]).unescape().partition("=")
    return f"<code>--{escape(name)}{escape('=' + shlex.quote(value)) if value else ''}</code>"


def _figure(value: float | None) -> str:
    return "-" if value is None or value != value else f"{value:.2f}"
