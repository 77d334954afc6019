"""The metrics of every epoch of a run, from what it logged for TensorBoard."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from emotion_lightning.evaluation.metrics import MONITOR

logger = logging.getLogger(__name__)

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
    with _damage_said():
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


class _Damage(logging.Handler):
    """Collects the files that TensorBoard says in its log for developers alone it cannot read to their end."""

    def __init__(self) -> None:
        super().__init__()
        self.files = dict[str, None]()

    def emit(self, record: logging.LogRecord) -> None:
        """Take the name of the file; should TensorBoard say it in other words, damage is not seen."""
        if str(record.msg).startswith("Truncated record in") and isinstance(record.args, tuple):
            self.files[str(record.args[0])] = None


@contextmanager
def _damage_said() -> Iterator[None]:
    """Warn of event files that are damaged, of which what stands behind is not read."""
    reader, damage = logging.getLogger("tensorboard"), _Damage()
    before = reader.level, reader.propagate
    reader.addHandler(damage)
    reader.propagate = False
    reader.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        reader.removeHandler(damage)
        reader.propagate = before[1]
        reader.setLevel(before[0])
    for file in damage.files:
        logger.warning("Report: %s is damaged or cut off: charts and times lack what stood behind", file)


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
