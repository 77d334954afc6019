"""Another model to compare with: its figures, or what it said of the same images."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from emotion_lightning.errors import DataError, UsageError
from emotion_lightning.evaluation.intervals import paired_intervals
from emotion_lightning.evaluation.measurement import HEADLINES
from emotion_lightning.evaluation.metrics import accuracy_and_f1
from emotion_lightning.evaluation.outputs import confusion_of
from emotion_lightning.evaluation.significance import mcnemar
from emotion_lightning.report.results import SplitResults
from emotion_lightning.runs.files import PATH_ERRORS

COMPARED = ("accuracy", "f1_macro")


@dataclass(frozen=True)
class Baseline:
    """What a run is compared with.

    Args:
        accuracy: Accuracy of the baseline, in [0, 1].
        f1: Macro F1 of the baseline, in [0, 1].
        predictions: CSV file with what the baseline said, in columns filepath and predicted, such as another run's
            report/test/predictions.csv; its figures are worked out, so that they must not be given as well.

    Raises:
        UsageError: A figure is outside of its range, or given beside predictions; or there is no such file.
    """

    accuracy: float | None = None
    f1: float | None = None
    predictions: Path | None = None

    def __post_init__(self) -> None:
        for name, value in (("accuracy", self.accuracy), ("f1", self.f1)):
            if value is not None and not 0 <= value <= 1:
                raise UsageError(f"`baseline_{name}` {value} is not in [0, 1], such as 0.8158 for 81.58 %")
            if value is not None and self.predictions is not None:
                raise UsageError(f"`baseline_{name}` follows from `baseline_predictions`; leave it out")
        if self.predictions is not None and not self.predictions.is_file():
            raise UsageError(f"`baseline_predictions` {self.predictions}: no such file")

    def compare(self, measured: SplitResults) -> list[dict[str, Any]]:
        """Compare each figure; nothing without a baseline.

        Raises:
            DataError: The predictions are not of the images that were measured.
        """
        if self.predictions is not None:
            return list(_by_predictions(measured, self.predictions))
        return list(self._by_figures(measured.metrics))

    def _by_figures(self, metrics: dict[str, Any]) -> Iterator[dict[str, Any]]:
        for figure, theirs in (("accuracy", self.accuracy), ("f1_macro", self.f1)):
            if theirs is not None and metrics["n"]:
                interval = [edge - theirs for edge in metrics["intervals"][figure]]
                chose = ", and these images chose our checkpoint" if metrics["split"] == "val" else ""
                yield _row(figure, metrics[figure], theirs, interval) | {
                    "basis": "95 % interval of ours; how far the baseline's own figure could be off is not known"
                    + chose
                }


def predicted_classes(measured: SplitResults, path: Path) -> Tensor:
    """What the predictions at ``path`` say of the images of ``measured``, as labels ``(N,)``.

    Raises:
        DataError: The file has no such columns, lacks an image, or has classes that were not measured.
    """
    with path.open(newline="", encoding="utf-8", errors=PATH_ERRORS) as stream:
        rows = csv.DictReader(stream)
        if not {"filepath", "predicted"} <= set(rows.fieldnames or ()):
            raise DataError(f"{path}: needs the columns filepath and predicted, has {', '.join(rows.fieldnames or ())}")
        kept = list(rows)
    said = {row["filepath"]: row["predicted"] for row in kept}
    missing = [name for name in measured.names if name not in said]
    if missing:
        split = measured.metrics["split"]
        raise DataError(f"{path} lacks {len(missing):,} of the images of the {split} split, such as {missing[0]}")
    labels = {name: label for label, name in enumerate(measured.class_names)}
    unknown = {said[name] for name in measured.names} - set(labels)
    if unknown:
        raise DataError(f"{path}: predicts the class '{min(unknown)}'; the classes are {', '.join(labels)}")
    given = {row["filepath"]: row["label"] for row in kept if row.get("label") is not None}
    truth = dict(zip(measured.names, measured.outputs.labels.tolist(), strict=True))
    other = [name for name, label in given.items() if name in truth and labels.get(label) != truth[name]]
    if other:
        raise DataError(f"{path}: has another label for {len(other):,} images, such as {other[0]}: it is of other data")
    return torch.tensor([labels[said[name]] for name in measured.names])


def _by_predictions(measured: SplitResults, path: Path) -> Iterator[dict[str, Any]]:
    outputs, theirs = measured.outputs, predicted_classes(measured, path)
    ours, labels = outputs.predicted, outputs.labels
    figures = accuracy_and_f1(confusion_of(labels, theirs, outputs.logits.shape[1]))
    intervals = paired_intervals(labels, ours, theirs, outputs.logits.shape[1])
    test = mcnemar(ours == labels, theirs == labels)
    for figure in COMPARED:
        row = _row(figure, measured.metrics[figure], figures[figure], list(intervals[figure]))
        if figure == "accuracy":
            row |= {
                "p": test.p,
                "significant": test.p < 0.05,
                "basis": f"exact McNemar test, p = {test.p:.3g}: only ours is right {test.ours:,} times, only the "
                f"baseline {test.theirs:,} times",
            }
        else:
            row["basis"] = "paired 95 % bootstrap interval of the difference"
        yield row


def _row(figure: str, ours: float, theirs: float, interval: list[float]) -> dict[str, Any]:
    return {
        "figure": HEADLINES[figure],
        "ours": ours,
        "baseline": theirs,
        "difference": ours - theirs,
        "interval": interval,
        "significant": not interval[0] <= 0 <= interval[1],
    }
