"""Charts of a run and its metrics, drawn once for the page and for a file: one function for each chart."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle
from math import isfinite
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from emotion_lightning.evaluation.calibration import reliability
from emotion_lightning.evaluation.confusion import per_class
from emotion_lightning.evaluation.curves import Curves, curves
from emotion_lightning.evaluation.outputs import EvalOutputs
from emotion_lightning.evaluation.selective import risk_coverage, risk_coverage_of
from emotion_lightning.runtime.fonts import without_boxes
from emotion_lightning.schedule import STAGES

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

INK, SOFT, LINE = "#1d1f23", "#74787f", "#d4d7dc"
"""Colors of text, of secondary text, and of grids; on the page they follow its theme."""

HEAT, ON_HEAT = "#0b4a8f", "#fefefe"
SERIES = ("#2f7fd6", "#e07b00", "#2a9d63", "#c6408b", "#7a62d8", "#b59500", "#12a0b5", "#d1495b")
SIZE = (4.6, 3.2)
READABLE = 25
"""Most classes of which each cell of a confusion matrix is written out, and each line named."""

STYLE: Any = {
    "font.size": 8,
    "text.parse_math": False,  # the name of a class may hold a dollar sign
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 7,
    "lines.linewidth": 1.6,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.titlecolor", "xtick.color", "ytick.color"), INK),
    "axes.edgecolor": SOFT,
}
Series = Mapping[str, Mapping[int, float]]
"""Named lines, each with a value for some epochs."""


@dataclass
class Chart:
    """A figure and the texts that hovering shows.

    Attributes:
        figure: The drawing.
        axes: The axes that the texts belong to.
        description: What it shows, in words.
        tips: Texts of an artist, one for each of its markers, by the artist's gid.
    """

    figure: "Figure"
    axes: "Axes"
    description: str
    tips: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def tip(self, artist: "Artist", *texts: str) -> None:
        """Show ``texts`` when the pointer is over ``artist``, or over each marker of a line."""
        gid = f"tip{len(self.tips)}"
        artist.set_gid(gid)
        self.tips[gid] = texts

    def tips_at(self, points: Iterable[tuple[float, float, str]]) -> None:
        """Show each text when the pointer is over an invisible marker at its x and y, in the data's coordinates."""
        known = [point for point in points if isfinite(point[0]) and isfinite(point[1])]
        style: Any = {"color": INK, "linestyle": "", "marker": "o", "markersize": 9, "markeredgewidth": 0, "alpha": 0}
        [markers] = self.axes.plot([x for x, _, _ in known], [y for _, y, _ in known], **style)
        self.tip(markers, *(text for _, _, text in known))


def training_curve(
    title: str,
    lines: Series,
    phases: Mapping[int, str],
    best_epoch: int | None = None,
    baseline: float | None = None,
    log: bool = False,
) -> Chart:
    """Draw values over epochs, with what was unfrozen when, the best epoch and the baseline to beat.

    Args:
        title: What the values are.
        lines: Values by epoch of each line.
        phases: Epoch to the lowest stage that trains from then on.
        best_epoch: Epoch of the best checkpoint.
        baseline: Value to compare with.
        log: Use a logarithmic scale.
    """
    from matplotlib.ticker import LogFormatter

    with _chart(title, "epoch") as chart:
        axes = chart.axes
        for (name, values), color in zip(lines.items(), cycle(SERIES), strict=False):
            axes.plot(list(values), list(values.values()), label=name, color=color, marker=".", markersize=4)
        if log:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(LogFormatter())  # the usual one writes mathematics, which is not parsed here
            axes.yaxis.set_minor_formatter(LogFormatter(labelOnlyBase=False))
        else:
            axes.ticklabel_format(axis="y", useOffset=False)
        _mark_phases(axes, phases, [epoch for values in lines.values() for epoch in values])
        if best_epoch is not None:
            axes.axvline(best_epoch, color=SOFT, linewidth=0.8, linestyle=":")
            _note(axes, "best", (best_epoch, 0), (2, 2), size=7)
        if baseline is not None:
            axes.axhline(baseline, color=INK, linewidth=0.9, linestyle="--", label=f"baseline {baseline:g}")
        axes.xaxis.get_major_locator().set_params(integer=True)  # type: ignore[call-arg]
        _legend(axes)
        for epoch in sorted({epoch for values in lines.values() for epoch in values}):
            here = {name: values[epoch] for name, values in lines.items() if epoch in values}
            text = "\n".join([f"epoch {epoch}", *(f"{name} {value:.4g}" for name, value in here.items())])
            chart.tips_at((epoch, value, text) for value in here.values())
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
    with _chart(title, "predicted", size=(size * 1.12, size), grid=False) as chart:
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
    with _chart("precision, recall and F1 by class", "") as chart:
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
        _legend(axes)
    return chart


def roc(outputs: EvalOutputs, class_names: Sequence[str]) -> Chart:
    """Draw the receiver operating characteristic of each class against all others."""
    with _chart("ROC, each class against the others", "false positive rate") as chart:
        chart.axes.set_ylabel("true positive rate")
        chart.axes.plot([0, 1], [0, 1], color=SOFT, linewidth=0.8, linestyle="--")
        for name, found, color in _by_class(outputs, class_names):
            label = f"{name} {found.roc_auc:.3f}"
            _line(chart, found.false_positive_rate, found.recall, label, color, f"{name}, AUC {found.roc_auc:.4f}")
        _legend(chart.axes, "AUC")
    return chart


def precision_recall(outputs: EvalOutputs, class_names: Sequence[str]) -> Chart:
    """Draw precision over recall of each class against all others."""
    with _chart("precision and recall, each class against the others", "recall") as chart:
        chart.axes.set_ylabel("precision")
        for name, found, color in _by_class(outputs, class_names):
            label, area = f"{name} {found.average_precision:.3f}", f"average precision {found.average_precision:.4f}"
            _line(chart, found.recall, found.precision, label, color, f"{name}, {area}")
        _legend(chart.axes, "average precision")
    return chart


def reliability_diagram(outputs: EvalOutputs, temperature: float) -> Chart:
    """Draw accuracy over confidence (DeGroot and Fienberg, 1983), as the model is and divided by its temperature."""
    with _chart("reliability", "confidence") as chart:
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
        _legend(axes)
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
    with _chart("risk over coverage, surest answers first", "coverage, share of images answered") as chart:
        axes = chart.axes
        axes.set_ylabel("risk, share of wrong answers")
        style: Any = {"color": SOFT, "linewidth": 0.8}
        axes.axhline(found.risk[-1].item(), linestyle="--", label=f"random order {found.risk[-1]:.3f}", **style)
        axes.plot(best.coverage, best.risk, linestyle=":", label=f"best order {best.aurc:.3f}", **style)
        _line(chart, found.coverage, found.risk, f"model {found.aurc:.3f}", SERIES[0], f"AURC {found.aurc:.4f}")
        answered = 0 if threshold is None else int((found.confidence >= threshold).sum())
        if answered:
            x, y = found.coverage[answered - 1].item(), found.risk[answered - 1].item()
            label = f"uncertain below {threshold:.2f}"
            axes.plot([x], [y], "o", color=SERIES[1], markersize=5, label=label)
            chart.tips_at([(x, y, f"{label}\ncoverage {x:.3f}\nrisk {y:.3f}")])
        axes.set_xlim(0, 1)
        axes.set_ylim(0, None)
        _legend(axes, "AURC")
    return chart


@contextmanager
def _chart(title: str, xlabel: str, size: tuple[float, float] = SIZE, grid: bool = True) -> Iterator[Chart]:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE | {"axes.grid": grid}):
        figure = Figure(figsize=size, dpi=72, layout="constrained")
        figure.patch.set_alpha(0)
        axes = figure.add_subplot()
        axes.patch.set_alpha(0)
        axes.set_title(title, loc="left")
        axes.set_xlabel(xlabel)
        yield Chart(figure, axes, title)
        with without_boxes(figure):
            figure.draw_without_rendering()  # lays it out, once for page and file
        figure.set_layout_engine("none")


def _mark_phases(axes: "Axes", phases: Mapping[int, str], epochs: Sequence[int]) -> None:
    for epoch, stage in phases.items():
        if epochs and min(epochs) <= epoch <= max(epochs):
            axes.axvline(epoch, color=LINE, linewidth=1.0)
            name = "all" if stage == STAGES[0] else stage if stage == STAGES[-1] else f"+ {stage}"
            _note(axes, name, (epoch, 1), (-1, -1), rotation=90, va="top", ha="right", size=6.5)


def _note(axes: "Axes", text: str, place: tuple[float, float], offset: tuple[float, float], **style: Any) -> None:
    """Write at an x of the data and a share of the height, a few points off."""
    axes.annotate(text, place, offset, ("data", "axes fraction"), "offset points", color=SOFT, **style)


def _cell(column: int, row: int, share: float) -> "Rectangle":
    from matplotlib.patches import Rectangle

    return Rectangle((column - 0.48, row - 0.48), 0.96, 0.96, color=HEAT, alpha=0.04 + 0.9 * share, linewidth=0)


def _by_class(outputs: EvalOutputs, class_names: Sequence[str]) -> Iterator[tuple[str, Curves, str]]:
    probabilities = outputs.probabilities
    for label, (name, color) in enumerate(zip(class_names, cycle(SERIES), strict=False)):
        of_class = outputs.labels == label
        if of_class.any() and not of_class.all():
            yield name, curves(probabilities[:, label], of_class), color


def _line(chart: Chart, x: Tensor, y: Tensor, label: str, color: str, tip: str) -> None:
    """Draw a curve of many points by as many as can be told apart."""
    shown = torch.linspace(0, len(x) - 1, min(len(x), 400)).long()
    xs, ys = x[shown].tolist(), y[shown].tolist()
    chart.axes.plot(xs, ys, label=label, color=color, linewidth=1.2)
    names = (chart.axes.get_xlabel(), chart.axes.get_ylabel())
    some = list(zip(xs, ys, strict=True))[:: max(1, len(xs) // 40)]
    chart.tips_at((a, b, f"{tip}\n{names[0]} {a:.3f}\n{names[1]} {b:.3f}") for a, b in some)


def _legend(axes: "Axes", title: str = "") -> None:
    handles, labels = axes.get_legend_handles_labels()
    if labels and len(labels) <= READABLE:
        axes.legend(handles, labels, title=title or None, title_fontsize=7, loc="best")
