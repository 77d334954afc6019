"""The metrics of every epoch of a run, from what it logged for TensorBoard."""

from collections.abc import Iterable
from pathlib import Path

from emotion_lightning.evaluation.metrics import MONITOR

Values = dict[int, float]
History = dict[str, Values]
"""Name of each metric, such as ``val/loss``, to its value by epoch."""

EPOCH = "epoch"
"""Tag under which Lightning logs the epoch of a step."""


def read_history(run: Path) -> History:
    """Read the scalars in the event files of ``run``; nothing, if it logged none.

    Where a run was resumed from an earlier epoch, what it had logged after that epoch is left out. An epoch that was
    validated several times has its last metrics, but the macro F1 of its best weights, which may be those kept.
    """
    from tensorboard.backend.event_processing.event_accumulator import SCALARS, EventAccumulator

    # everything in the files is read, but of all kinds but scalars nothing is kept
    sizes = dict.fromkeys(("compressedHistograms", "histograms", "images", "audio", "tensors"), 1)
    events = EventAccumulator(str(run), size_guidance=sizes | {SCALARS: 0})
    events.Reload()
    tags = events.Tags()[SCALARS]
    if EPOCH not in tags:
        return {}
    epochs = {event.step: int(event.value) for event in events.Scalars(EPOCH)}
    return {
        tag: _by_epoch(((event.step, event.value) for event in events.Scalars(tag)), epochs, best=tag == MONITOR)
        for tag in tags
        if tag != EPOCH
    }


def _by_epoch(steps: Iterable[tuple[int, float]], epochs: dict[int, int], best: bool) -> Values:
    """Keep the last or the ``best`` value of each epoch, and of steps that were repeated the later ones."""
    kept: dict[int, float] = {}
    for step, value in steps:
        if kept and step < next(reversed(kept)):
            kept = {earlier: old for earlier, old in kept.items() if earlier < step}
        kept[step] = value
    order = sorted(kept, key=lambda step: (kept[step], -step)) if best else kept
    by_epoch = {epochs[step]: kept[step] for step in order if step in epochs}
    return dict(sorted(by_epoch.items()))
