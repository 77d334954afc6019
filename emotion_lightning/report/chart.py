"""A chart: its style, its lines, and the texts that hovering shows."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import isfinite
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from emotion_lightning.runtime.fonts import without_boxes

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, SOFT, LINE = "#1d1f23", "#74787f", "#d4d7dc"
"""Colors of text, of secondary text, and of grids; on the page they follow its theme."""

SERIES = ("#2f7fd6", "#e07b00", "#2a9d63", "#c6408b", "#7a62d8", "#b59500", "#12a0b5", "#d1495b")
SIZE = (4.6, 3.2)
WITHIN = 4
"""Most lines whose names stand within a chart."""

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


@contextmanager
def new_chart(title: str, xlabel: str, size: tuple[float, float] = SIZE, grid: bool = True) -> Iterator[Chart]:
    """Begin a chart, and lay it out when it is drawn."""
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


def note(axes: "Axes", text: str, place: tuple[float, float], offset: tuple[float, float], **style: Any) -> None:
    """Write at an x of the data and a share of the height, a few points off."""
    axes.annotate(text, place, offset, ("data", "axes fraction"), "offset points", color=SOFT, **style)


def draw_line(chart: Chart, x: Tensor, y: Tensor, label: str, color: str, tip: str) -> None:
    """Draw a curve of many points by as many as can be told apart."""
    shown = torch.linspace(0, len(x) - 1, min(len(x), 400)).long()
    xs, ys = x[shown].tolist(), y[shown].tolist()
    chart.axes.plot(xs, ys, label=label, color=color, linewidth=1.2)
    names = (chart.axes.get_xlabel(), chart.axes.get_ylabel())
    some = list(zip(xs, ys, strict=True))[:: max(1, len(xs) // 40)]
    chart.tips_at((a, b, f"{tip}\n{names[0]} {a:.3f}\n{names[1]} {b:.3f}") for a, b in some)


def draw_legend(axes: "Axes", title: str = "") -> None:
    """Name the lines, and beside the chart where a legend within would hide them."""
    handles, labels = axes.get_legend_handles_labels()
    if labels and len(labels) <= READABLE:
        place: Any = {"loc": "center left", "bbox_to_anchor": (1, 0.5)} if len(labels) > WITHIN else {"loc": "best"}
        axes.legend(handles, labels, title=title or None, title_fontsize=7, **place)
