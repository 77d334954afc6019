"""Another model to compare with: its accuracy and F1, or its predictions for the same images."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from emotion_lightning.errors import DataError, UsageError
from emotion_lightning.evaluation.confusion import confusion_matrix, overall_metrics
from emotion_lightning.evaluation.intervals import paired_intervals
from emotion_lightning.evaluation.metrics import OVERALL
from emotion_lightning.evaluation.significance import mcnemar
from emotion_lightning.report.results import FOLDER, PREDICTIONS, SplitResults
from emotion_lightning.runs.files import PATH_ERRORS


@dataclass(frozen=True)
class Baseline:
    """What a run is compared with.

    Args:
        accuracy: Accuracy of the baseline, in [0, 1].
        f1: Macro F1 of the baseline, in [0, 1].
        predictions: CSV file of the baseline's predictions, with columns filepath and predicted; or the folder of a
            run, which has such a file of each split that it was measured on. Accuracy and F1 follow from it and must
            not be given as well.

    Raises:
        UsageError: A metric is outside its range, or given beside predictions; or there is no such file.
    """

    accuracy: float | None = None
    f1: float | None = None
    predictions: Path | None = None

    def __post_init__(self) -> None:
        for name, value in (("accuracy", self.accuracy), ("f1", self.f1)):
            if value is not None and not 0 <= value <= 1:
                raise UsageError(f"`baseline_{name}` {value} is not in [0, 1], such as 0.8158 for 81.58 %")
            if value is not None and self.predictions is not None:
                raise UsageError(f"`baseline_{name}` follows from the baseline's predictions; leave it out")
        if self.predictions is not None and not self.predictions.exists():
            raise UsageError(f"`baseline_predictions` {self.predictions}: no such file")

    def compare(self, results: SplitResults) -> list[dict[str, Any]]:
        """Compare accuracy and macro F1; without a baseline, or answers to all images, there is nothing to compare.

        Raises:
            DataError: The predictions are not of the same images.
        """
        if not results.outputs.answered.all():
            return []
        if self.predictions is not None:
            return list(_by_predictions(results, _file_for(results, self.predictions)))
        return list(self._by_metrics(results.metrics))

    def _by_metrics(self, metrics: dict[str, Any]) -> Iterator[dict[str, Any]]:
        for name, theirs in (("accuracy", self.accuracy), ("f1_macro", self.f1)):
            if theirs is not None and metrics["n"]:
                interval = [edge - theirs for edge in metrics["intervals"][name]]
                chose = ", and these images chose our checkpoint" if metrics["split"] == "val" else ""
                yield _row(name, metrics[name], theirs, interval) | {
                    "basis": "95 % interval of ours; how far the baseline's own value could be off is not known" + chose
                }


def _file_for(results: SplitResults, predictions: Path) -> Path:
    """The file with the baseline's predictions for the images of ``results``."""
    if not predictions.is_dir():
        return predictions
    file = predictions / FOLDER / results.folder.name / PREDICTIONS
    if not file.is_file():
        raise DataError(
            f"run {predictions.name} was not measured on {results.folder.name}: validate or test it, and then write "
            "this report again"
        )
    return file


def predicted_classes(results: SplitResults, path: Path) -> Tensor:
    """Read the predicted labels ``(N,)`` of the images of ``results`` from the file at ``path``.

    Raises:
        DataError: The file has no such columns, lacks an image, or has other classes or labels.
    """
    with path.open(newline="", encoding="utf-8", errors=PATH_ERRORS) as stream:
        rows = csv.DictReader(stream)
        if not {"filepath", "predicted"} <= set(rows.fieldnames or ()):
            raise DataError(f"{path}: needs the columns filepath and predicted, has {', '.join(rows.fieldnames or ())}")
        table = list(rows)
    predicted = {row["filepath"]: row["predicted"] for row in table}
    missing = [name for name in results.names if name not in predicted]
    if missing:
        split = results.metrics["split"]
        raise DataError(f"{path} lacks {len(missing):,} of the images of the {split} split, such as {missing[0]}")
    labels = {name: label for label, name in enumerate(results.class_names)}
    unknown = {predicted[name] for name in results.names} - set(labels)
    if unknown:
        raise DataError(f"{path}: predicts the class '{min(unknown)}'; the classes are {', '.join(labels)}")
    given = {row["filepath"]: row["label"] for row in table if row.get("label") is not None}
    truth = dict(zip(results.names, results.outputs.labels.tolist(), strict=True))
    other = [name for name, label in given.items() if name in truth and labels.get(label) != truth[name]]
    if other:
        raise DataError(f"{path}: has another label for {len(other):,} images, such as {other[0]}: it is of other data")
    return torch.tensor([labels[predicted[name]] for name in results.names])


def _by_predictions(results: SplitResults, path: Path) -> Iterator[dict[str, Any]]:
    outputs, theirs = results.outputs, predicted_classes(results, path)
    ours, labels = outputs.predicted, outputs.labels
    of_theirs = overall_metrics(confusion_matrix(labels, theirs, outputs.logits.shape[1]))
    intervals = paired_intervals(labels, ours, theirs, outputs.logits.shape[1], outputs.subjects)
    test = mcnemar(ours == labels, theirs == labels)
    for name in ("accuracy", "f1_macro"):
        row = _row(name, results.metrics[name], of_theirs[name].item(), list(intervals[name]))
        if name == "accuracy" and outputs.subjects is None:
            row |= {
                "p": test.p,
                "significant": test.p < 0.05,
                "basis": f"exact McNemar test, p = {test.p:.3g}: only ours is right {test.ours:,} times, only the "
                f"baseline {test.theirs:,} times",
            }
        else:
            drawn = "" if outputs.subjects is None else ", drawn by subject"
            row["basis"] = f"paired 95 % bootstrap interval of the difference{drawn}"
        yield row


def _row(name: str, ours: float, theirs: float, interval: list[float]) -> dict[str, Any]:
    return {
        "metric": OVERALL[name],
        "ours": ours,
        "baseline": theirs,
        "difference": ours - theirs,
        "interval": interval,
        "significant": not interval[0] <= 0 <= interval[1],
    }
