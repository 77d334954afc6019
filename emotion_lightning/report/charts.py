"""Charts of a run and its metrics, drawn once for the page and for a file: one function for each chart."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle
from math import isfinite
from statistics import median
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from emotion_lightning.evaluation.calibration import reliability
from emotion_lightning.evaluation.confusion import per_class
from emotion_lightning.evaluation.curves import Curves, curves
from emotion_lightning.evaluation.outputs import EvalOutputs
from emotion_lightning.evaluation.selective import risk_coverage, risk_coverage_of
from emotion_lightning.report.chart import (
    INK,
    LINE,
    READABLE,
    SERIES,
    SOFT,
    Chart,
    draw_legend,
    draw_line,
    new_chart,
    note,
)
from emotion_lightning.schedule import STAGES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.patches import Rectangle

DECADES = 3
"""Powers of ten that a logarithmic scale shows."""

OUTLYING = 5
"""How many times the median the greatest value may be that a scale shows."""

HEAT, ON_HEAT = "#0b4a8f", "#fefefe"
Series = Mapping[str, Mapping[int, float]]
"""Named lines, each with a value for some epochs."""


def training_curve(
    title: str,
    lines: Series,
    phases: Mapping[int, str],
    best_epoch: int | None = None,
    baseline: float | None = None,
    log: bool = False,
) -> Chart:
    """Draw values over epochs, with what was unfrozen when, the best epoch and the baseline to beat.

    Epochs are given from 0 and written from 1.

    Args:
        title: What the values are.
        lines: Values by epoch of each line.
        phases: Epoch to the lowest stage that trains from then on.
        best_epoch: Epoch of the best checkpoint.
        baseline: Value to compare with.
        log: Use a logarithmic scale, of ``DECADES`` below the greatest value.
    """
    from matplotlib.ticker import LogFormatter

    with new_chart(title, "epoch") as chart:
        axes = chart.axes
        for (name, values), color in zip(lines.items(), cycle(SERIES), strict=False):
            axes.plot(
                [epoch + 1 for epoch in values],
                list(values.values()),
                label=name,
                color=color,
                marker=".",
                markersize=4,
            )
        if log:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(LogFormatter())  # the usual one writes mathematics, which is not parsed here
            axes.yaxis.set_minor_formatter(LogFormatter(labelOnlyBase=False))
        else:
            axes.ticklabel_format(axis="y", useOffset=False)
        _show_what_matters(axes, [value for values in lines.values() for value in values.values()], log)
        _mark_phases(axes, phases, [epoch for values in lines.values() for epoch in values])
        if best_epoch is not None:
            axes.axvline(best_epoch + 1, color=SOFT, linewidth=0.8, linestyle=":")
            note(axes, "best", (best_epoch + 1, 0), (-2, 2), ha="right", size=7)
        if baseline is not None:
            axes.axhline(baseline, color=INK, linewidth=0.9, linestyle="--", label=f"baseline {baseline:g}")
        axes.xaxis.get_major_locator().set_params(integer=True)  # type: ignore[call-arg]
        draw_legend(axes)
        for epoch in sorted({epoch for values in lines.values() for epoch in values}):
            here = {name: values[epoch] for name, values in lines.items() if epoch in values}
            text = "\n".join([f"epoch {epoch + 1}", *(f"{name} {value:.4g}" for name, value in here.items())])
            chart.tips_at((epoch + 1, value, text) for value in here.values())
    return chart


def confusion_matrix(confusion: Tensor, class_names: Sequence[str], normalized: bool) -> Chart:
    """Draw a confusion matrix ``(classes, classes)``, rows true and columns predicted, with a number in each cell.

    Args:
        confusion: The counts.
        class_names: Names of the emotions.
        normalized: Divide each row by its sum, so that the diagonal is the recall.
    """
    rows = confusion / confusion.sum(dim=1, keepdim=True).clamp(min=1)
    size = max(3.2, 0.42 * len(class_names) + 1.2)
    title = "confusion, share of each true class" if normalized else "confusion, images"
    with new_chart(title, "predicted", size=(size * 1.12, size), grid=False) as chart:
        axes = chart.axes
        axes.set_ylabel("true")
        cells = [(r, c) for r in range(len(rows)) for c in range(len(rows))]
        for row, column in cells if len(rows) <= READABLE else confusion.nonzero().tolist():
            share, count = rows[row, column].item(), int(confusion[row, column])
            cell = axes.add_patch(_cell(column, row, share))
            text = f"{share:.2f}" if normalized else f"{count:,}"
            color = ON_HEAT if share > 0.6 else INK if count else SOFT
            if len(rows) <= READABLE:
                axes.text(column, row, text, ha="center", va="center", color=color, size=7)
            true = class_names[row]
            chart.tip(cell, f"{true} taken for {class_names[column]}\n{count:,} images, {share:.1%} of {true}")
        axes.set_xlim(-0.5, len(rows) - 0.5)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xticks(range(len(rows)), class_names, rotation=45, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(rows)), class_names)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    return chart


def class_metrics(confusion: Tensor, class_names: Sequence[str]) -> Chart:
    """Draw precision, recall and F1 of each class."""
    columns, support = per_class(confusion), confusion.sum(dim=1)
    with new_chart("precision, recall and F1 by class", "") as chart:
        axes = chart.axes
        for (name, marker), color in zip({"precision": "<", "recall": ">", "f1": "o"}.items(), SERIES, strict=False):
            values = columns[name].tolist()
            axes.plot(values, range(len(values)), marker, label=name, color=color, markersize=5, linestyle="")
            chart.tips_at(
                (value, row, f"{class_names[row]}, {int(support[row]):,} images\n{name} {value:.4f}")
                for row, value in enumerate(values)
            )
        axes.set_yticks(range(len(class_names)), class_names)
        axes.set_ylim(len(class_names) - 0.5, -0.5)
        axes.set_xlim(-0.02, 1.02)
        draw_legend(axes)
    return chart


def roc(outputs: EvalOutputs, class_names: Sequence[str]) -> Chart:
    """Draw the receiver operating characteristic of each class against all others."""
    with new_chart("ROC, each class against the others", "false positive rate") as chart:
        chart.axes.set_ylabel("true positive rate")
        chart.axes.plot([0, 1], [0, 1], color=SOFT, linewidth=0.8, linestyle="--")
        for name, found, color in _by_class(outputs, class_names):
            label = f"{name} {found.roc_auc:.3f}"
            draw_line(chart, found.false_positive_rate, found.recall, label, color, f"{name}, AUC {found.roc_auc:.4f}")
        draw_legend(chart.axes, "AUC")
    return chart


def precision_recall(outputs: EvalOutputs, class_names: Sequence[str]) -> Chart:
    """Draw precision over recall of each class against all others.

    The line is the highest precision at that recall or above, as a class of few images gives saw teeth otherwise; the
    average precision is that of all points.
    """
    with new_chart("precision and recall, each class against the others", "recall") as chart:
        chart.axes.set_ylabel("precision")
        for name, found, color in _by_class(outputs, class_names):
            label, area = f"{name} {found.average_precision:.3f}", f"average precision {found.average_precision:.4f}"
            highest = found.precision[1:].flip(0).cummax(0).values.flip(0)
            draw_line(chart, found.recall[1:], highest, label, color, f"{name}, {area}")
        draw_legend(chart.axes, "average precision")
    return chart


def reliability_diagram(outputs: EvalOutputs, temperature: float) -> Chart:
    """Draw accuracy over confidence (DeGroot and Fienberg, 1983), as the model is and divided by its temperature."""
    with new_chart("reliability", "confidence") as chart:
        axes = chart.axes
        axes.set_ylabel("accuracy")
        axes.plot([0, 1], [0, 1], color=SOFT, linewidth=0.8, linestyle="--", label="perfect")
        scaled = f"temperature {temperature:.2f}"
        for name, divisor, color in (("as it is", 1.0, SERIES[1]), (scaled, temperature, SERIES[0])):
            bins = reliability(outputs.logits, outputs.labels, divisor)
            used = bins.images > 0
            confidence, accuracy, count = (values[used].tolist() for values in bins)
            axes.plot(confidence, accuracy, label=f"{name}, ECE {bins.ece:.3f}", color=color, marker="o", markersize=3)
            chart.tips_at(
                (x, y, f"{name}\nconfidence {x:.3f}\naccuracy {y:.3f}\n{n:,} images")
                for x, y, n in zip(confidence, accuracy, count, strict=True)
            )
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        draw_legend(axes)
    return chart


def risk_over_coverage(outputs: EvalOutputs, temperature: float, threshold: float | None) -> Chart:
    """Draw how many answers are wrong if only the surest images are answered (Geifman and El-Yaniv, 2017).

    Args:
        outputs: Outputs of the model.
        temperature: What calibrates them.
        threshold: Least probability that is answered, which is marked.
    """
    found = risk_coverage_of(outputs.scaled(temperature).probabilities, outputs.labels)
    right = (outputs.predicted == outputs.labels).sort(descending=True).values
    best = risk_coverage(torch.arange(len(right), 0, -1), right)
    with new_chart("risk over coverage, surest answers first", "coverage, share of images answered") as chart:
        axes = chart.axes
        axes.set_ylabel("risk, share of wrong answers")
        style: Any = {"color": SOFT, "linewidth": 0.8}
        axes.axhline(found.risk[-1].item(), linestyle="--", label=f"random order {found.risk[-1]:.3f}", **style)
        axes.plot(best.coverage, best.risk, linestyle=":", label=f"best order {best.aurc:.3f}", **style)
        draw_line(chart, found.coverage, found.risk, f"model {found.aurc:.3f}", SERIES[0], f"AURC {found.aurc:.4f}")
        answered = 0 if threshold is None else int((found.confidence >= threshold).sum())
        if answered:
            x, y = found.coverage[answered - 1].item(), found.risk[answered - 1].item()
            label = f"uncertain below {threshold:.2f}"
            axes.plot([x], [y], "o", color=SERIES[1], markersize=5, label=label)
            chart.tips_at([(x, y, f"{label}\ncoverage {x:.3f}\nrisk {y:.3f}")])
        axes.set_xlim(0, 1)
        axes.set_ylim(0, None)
        draw_legend(axes, "AURC")
    return chart


def _show_what_matters(axes: "Axes", values: Sequence[float], log: bool) -> None:
    """Cut off what would squeeze the rest: rates that have all but vanished, and values far above most."""
    known = [value for value in values if isfinite(value) and value > 0]
    if known and log:
        axes.set_ylim(max(min(known), max(known) / 10**DECADES) / 1.5, max(known) * 1.5)
    elif known and max(known) > max(OUTLYING * median(known), 1):  # scores have an end of their own
        axes.set_ylim(top=OUTLYING * median(known))


def _mark_phases(axes: "Axes", phases: Mapping[int, str], epochs: Sequence[int]) -> None:
    for epoch, stage in phases.items():
        if epochs and min(epochs) <= epoch <= max(epochs):
            axes.axvline(epoch + 1, color=LINE, linewidth=1.0)
            name = "all" if stage == STAGES[0] else stage if stage == STAGES[-1] else f"+ {stage}"
            note(axes, name, (epoch + 1, 1), (1, -1), rotation=90, va="top", ha="left", size=6.5)


def _cell(column: int, row: int, share: float) -> "Rectangle":
    from matplotlib.patches import Rectangle

    return Rectangle((column - 0.48, row - 0.48), 0.96, 0.96, color=HEAT, alpha=0.04 + 0.9 * share, linewidth=0)


def _by_class(outputs: EvalOutputs, class_names: Sequence[str]) -> Iterator[tuple[str, Curves, str]]:
    """Curves of each class that has both, those of the largest area first, as lines and legend then agree."""
    probabilities = outputs.probabilities
    found = []
    for label, (name, color) in enumerate(zip(class_names, cycle(SERIES), strict=False)):
        of_class = outputs.labels == label
        if of_class.any() and not of_class.all():
            found.append((name, curves(probabilities[:, label], of_class), color))
    yield from sorted(found, key=lambda each: -each[1].roc_auc)
