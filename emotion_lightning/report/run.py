"""A run as its folder tells it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from jinja2 import TemplateError

from emotion_lightning.errors import DataError, EmotionError
from emotion_lightning.evaluation.metrics import MONITOR
from emotion_lightning.options import renamed
from emotion_lightning.report.results import FOLDER, SplitResults, read_results
from emotion_lightning.runs.config import how_to_measure
from emotion_lightning.runs.files import read_json
from emotion_lightning.runs.history import History, read_history
from emotion_lightning.runs.limited_yaml import read_mapping
from emotion_lightning.runs.provenance import data_of_run, read_starts
from emotion_lightning.schedule import parse_schedule

SPLITS = ("test", "val", "train")
"""Splits in the order in which they matter to a reader."""


MALFORMED = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
"""What Python and libraries raise of values that are not of the kind that was expected."""

GROUPS = ("model", "data", "trainer", "unfreeze", "report")
"""Options that are groups."""


@contextmanager
def of_runs(*folders: Path) -> Iterator[None]:
    """Say in one line what no page can be made of: files that are damaged, or that something else has written.

    Raises:
        DataError: There is such a file in one of ``folders``.
    """
    try:
        yield
    except (EmotionError, OSError):  # these say themselves which file it is
        raise
    except (*MALFORMED, TemplateError) as error:
        said = f"{type(error).__name__}: {error}".splitlines()[0]
        raise DataError(
            f"{', '.join(map(str, folders))}: files of the run are damaged, and no page can be made of them "
            f"({said:.200}); measure its checkpoint again by test or validate"
        ) from error


@dataclass(frozen=True)
class Run:
    """The files of a run, read when they are first asked for.

    Args:
        folder: The run's folder, such as lightning_logs/version_0.
        on: Folder of the results on other data that it is looked at for, in place of those on its own.
    """

    folder: Path
    on: Path | None = None

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.resolve().name

    @cached_property
    def results(self) -> dict[str, SplitResults]:
        """Results on each split that was measured.

        Raises:
            DataError: Nothing was, or a file is damaged.
        """
        folders = [self.on] if self.on else [self.folder / FOLDER / split for split in SPLITS]
        found = [results for folder in folders if (results := read_results(folder)) is not None]
        if not found:
            tested = "test" in (self.audit or {}).get("balance", {})  # with the built-in faces there is no audit
            advice = how_to_measure(self.folder, "test" if tested else "validate")
            raise DataError(f"{self.folder}: nothing was measured there; {advice}")
        return {results.metrics["split"]: results for results in found}

    @cached_property
    def elsewhere(self) -> list[SplitResults]:
        """Results on other data."""
        folders = sorted(path for split in SPLITS for path in (self.folder / FOLDER).glob(f"{split}-*"))
        return [results for folder in folders if (results := read_results(folder)) is not None]

    @cached_property
    def history(self) -> History:
        """Metrics by epoch."""
        return read_history(self.folder)

    @cached_property
    def config(self) -> dict[str, Any]:
        """Options of the run; none for a run made from Python."""
        path = self.folder / "config.yaml"
        found = renamed(read_mapping(path)) if path.exists() else {}
        if not all(isinstance(found.get(name, {}), dict) for name in GROUPS):
            raise DataError(f"{path} is no configuration of a run: one of its groups is none")
        return found

    @cached_property
    def audit(self) -> dict[str, Any] | None:
        """What is wrong with the data; None without an audit."""
        found: dict[str, Any] | None = self._json("audit.json", dict)
        return found

    @cached_property
    def starts(self) -> list[dict[str, Any]]:
        """Where the run comes from: its start and each resume."""
        return read_starts(self.folder)

    @property
    def origin(self) -> dict[str, str]:
        """What identifies the data that was trained on and the weights that were measured, by what it is."""
        data, found = data_of_run(self.folder), dict[str, str]()
        if data:
            images = ", ".join(f"{split} {count}" for split, count in data["images"].items())
            found |= {"data": data["root"] or "built-in faces", "data (SHA-256)": data["fingerprint"], "images": images}
            cut = (self.folder / "splits.csv").is_file()
            found["splits"] = "splits.csv in the folder of the run" if cut else "as the data has them"
        weights = {split: results.metrics.get("weights") for split, results in self.results.items()}
        return found | {f"weights measured on {split} (SHA-256)": each for split, each in weights.items() if each}

    @property
    def phases(self) -> dict[int, str]:
        """Epoch to the lowest stage that trains from then on."""
        schedule = self.config.get("unfreeze", {}).get("schedule", {})
        return parse_schedule({int(epoch): stage for epoch, stage in schedule.items()}) if schedule else {}

    @property
    def limits(self) -> dict[str, Any]:
        """Options by which the validations within the run took only a part of the split, with their values."""
        names = ("limit_val_batches", "overfit_batches", "fast_dev_run")
        given = {name: self.config.get("trainer", {}).get(name) for name in names}
        return {name: value for name, value in given.items() if value and repr(value) != "1.0"}

    @property
    def epochs(self) -> int:
        """Number of epochs of which anything was measured."""
        return 1 + max((epoch for values in self.history.values() for epoch in values), default=-1)

    @property
    def best_epoch(self) -> int | None:
        """First epoch with the best validation macro F1."""
        scores = self.history.get(MONITOR, {})
        return max(scores, key=lambda epoch: (scores[epoch], -epoch), default=None)

    @property
    def seconds(self) -> dict[str, float]:
        """Time of all epochs' training and of their validations."""
        return {part: sum(self.history.get(f"{part}/epoch_seconds", {}).values()) for part in ("train", "val")}

    def _json(self, name: str, kind: type) -> Any:
        path = self.folder / name
        try:
            found = read_json(path) if path.is_file() else None
        except ValueError as error:
            raise DataError(f"{path} is damaged") from error
        if not isinstance(found, kind | None):
            raise DataError(f"{path} is damaged: it holds no {kind.__name__}")
        return found
