"""The figures of every epoch of a run: ``history.csv`` in its folder, a row an epoch."""

import csv
import logging
from collections.abc import Mapping
from pathlib import Path

from emotion_lightning.errors import DataError
from emotion_lightning.runs.files import atomic_csv
from emotion_lightning.runs.provenance import PROVENANCE

logger = logging.getLogger(__name__)

Values = dict[int, float]
History = dict[str, Values]
"""Name of each figure, such as ``val/loss``, to its value by epoch."""

Rows = dict[int, dict[str, float]]
"""Figures by name of each epoch, as they are written."""

HISTORY = "history.csv"
EPOCH, STEP = "epoch", "step"
"""Columns before the figures: the epoch from 0, and the optimizer's steps up to then."""


def write_history(folder: Path, rows: Mapping[int, Mapping[str, float]]) -> None:
    """Write ``rows`` into the run's ``folder``, with all their digits; a figure that an epoch lacks is left empty.

    Raises:
        DataError: The file cannot be written.
    """
    names = sorted({name for row in rows.values() for name in row} - {EPOCH, STEP})
    with atomic_csv(folder / HISTORY) as stream:
        writer = csv.DictWriter(stream, [EPOCH, STEP, *names])
        writer.writeheader()
        writer.writerows({**row, EPOCH: epoch} for epoch, row in rows.items())


def read_history(folder: Path) -> History:
    """Read the history of the run in ``folder``; nothing where it has none, as a run of 0.1, of which that is said.

    Raises:
        DataError: The file is damaged.
    """
    path = folder / HISTORY
    if not path.is_file():
        began_before = not (folder / PROVENANCE).is_file()  # or it is in its first epoch
        if began_before and any(folder.glob("events.out.tfevents.*")):
            logger.warning("%s has no %s, as runs of 0.1: its curves are in TensorBoard alone", folder, HISTORY)
        return {}
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        names = [name for name in rows[0] if name not in (EPOCH, STEP)] if rows else []
        return {name: {int(row[EPOCH]): float(row[name]) for row in rows if row[name]} for name in names}
    except (ValueError, TypeError, LookupError, csv.Error) as error:
        raise DataError(f"{path} is damaged; without that file, pages are written without curves") from error
