"""The curves of a learning-rate finder as a picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from emotion_lightning.tuning.lr_find import Sweep


def draw(sweeps: Sequence["Sweep"], path: Path) -> None:
    """Draw each sweep's loss over the learning rate to a PNG file, with the suggested and the configured rate."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6 * len(sweeps), 4.5), layout="constrained")
    for axes, sweep in zip(figure.subplots(1, len(sweeps), squeeze=False)[0], sweeps, strict=True):
        _panel(axes, sweep)
    figure.savefig(path, format="png", dpi=120)


def _panel(axes: "Axes", sweep: "Sweep") -> None:
    smoothed = np.array(sweep.smoothed)
    axes.plot(sweep.rates, sweep.losses, color="0.75", linewidth=1, label="loss")
    axes.plot(sweep.rates, smoothed, color="tab:blue", linewidth=2.5, label="smoothed, batches made alike")
    axes.axvline(sweep.configured, color="0.3", linestyle="--", label=f"configured: {sweep.configured:.1e}")
    if sweep.suggestion is not None:
        height = smoothed[list(sweep.rates).index(sweep.suggestion)]
        label = f"suggested, steepest descent: {sweep.suggestion:.1e}"
        axes.plot([sweep.suggestion], [height], "o", color="tab:red", markersize=9, label=label)
    falling = np.array(sweep.losses[: int(smoothed.argmin()) + 20])
    falling = falling[np.isfinite(falling)]
    if len(falling):  # what diverges may leave the picture, so that the descent can be seen
        axes.set_ylim(max(0.0, falling.min() - 0.3), np.quantile(falling, 0.9) * 1.5)
    axes.set(xscale="log", xlabel=f"learning rate of the {sweep.part}", ylabel="training loss", title=sweep.part)
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left", fontsize=9)
