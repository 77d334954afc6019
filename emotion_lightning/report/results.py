"""Results on a split, as files in the folder of a run: metrics, the prediction for every image, and faces."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from emotion_lightning.errors import DataError
from emotion_lightning.evaluation.outputs import NO_CLASS, EvalOutputs
from emotion_lightning.runs.files import PATH_ERRORS, atomic_csv, read_json, write_json

FOLDER = "report"
"""Folder of the report in that of the run; it has a folder for each split that was measured."""

METRICS, PREDICTIONS, FACES, ROBUSTNESS = "metrics.json", "predictions.csv", "faces.json", "robustness.json"
PAGE = "index.html"
REQUIRED = {
    *("split", "data", "bias_warnings", "n", "leaked", "leak_free", "intervals", "per_class", "calibration", "tta"),
    "seed",
}
"""Keys of metrics.json that the pages show."""

COLUMNS = ("filepath", "label", "predicted", "probability", "loss", "leaked", "subject")


@dataclass(frozen=True)
class SplitResults:
    """Results on one split.

    Attributes:
        folder: Where the files are.
        metrics: Content of metrics.json.
        names: Path of each image below the data's root.
        outputs: Outputs of the model, as logarithms of its probabilities; positions count from 0.
    """

    folder: Path
    metrics: dict[str, Any]
    names: tuple[str, ...]
    outputs: EvalOutputs

    @property
    def class_names(self) -> list[str]:
        """Names of the emotions in the order of the labels."""
        return list(self.metrics["per_class"])

    @cached_property
    def faces(self) -> list[dict[str, Any]]:
        """Faces that show what the model gets right and wrong; none if none were kept.

        Raises:
            DataError: The file is damaged, or names pictures elsewhere, which a page would fetch.
        """
        path = self.folder / FACES
        try:
            found: list[dict[str, Any]] = read_json(path) if path.is_file() else []
            pictures = [face[key] for face in found for key in ("picture", "heat") if face[key] is not None]
            sound = isinstance(found, list) and all(isinstance(face["gallery"], str) for face in found)
        except (ValueError, TypeError, LookupError) as error:
            raise DataError(f"{path} is damaged; measure the checkpoint again") from error
        if not sound:
            raise DataError(f"{path} is damaged; measure the checkpoint again")
        if not all(str(picture).startswith("data:image/") for picture in pictures):
            raise DataError(f"{path} names pictures that are not in it; measure the checkpoint again")
        return found

    @cached_property
    def robustness(self) -> dict[str, Any] | None:
        """What was measured on corrupted copies of the images; None if nothing was.

        Raises:
            DataError: The file is damaged, or names a picture elsewhere, which a page would fetch.
        """
        path = self.folder / ROBUSTNESS
        try:
            found: dict[str, Any] | None = read_json(path) if path.is_file() else None
            sound = found is None or found["sheet"].startswith("data:image/")
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise DataError(f"{path} is damaged; measure the checkpoint again") from error
        if not sound:
            raise DataError(f"{path} names pictures that are not in it; measure the checkpoint again")
        return found

    def galleries(self, kind: str) -> list[list[dict[str, Any]]]:
        """Faces of each gallery of a kind, such as those of each class, in the order in which they were chosen."""
        found: dict[str, list[dict[str, Any]]] = {}
        for face in self.faces:
            if face["gallery"].split()[0] == kind:
                found.setdefault(face["gallery"], []).append(face)
        return list(found.values())


def write_predictions(
    folder: Path, outputs: EvalOutputs, names: Sequence[str], class_names: Sequence[str], leaked: Tensor | None
) -> None:
    """Write one row for each image, with the probability of every class as the model gives it, uncalibrated.

    An image for which the model gave no numbers has no predicted class. Subjects are numbers. All digits are kept, so
    that every metric can be computed again.

    Args:
        folder: Folder for predictions.csv.
        outputs: Outputs of the model.
        names: Path of each image of ``outputs``.
        class_names: Names of the emotions.
        leaked: Which images the model has seen, or a copy of them, bool ``(N,)``; None if unknown.
    """
    columns = zip(
        names,
        outputs.labels.tolist(),
        outputs.predicted.tolist(),
        outputs.probabilities.tolist(),
        outputs.losses.tolist(),
        [""] * len(names) if leaked is None else leaked.tolist(),
        [""] * len(names) if outputs.subjects is None else outputs.subjects.tolist(),
        strict=True,
    )
    with atomic_csv(folder / PREDICTIONS) as stream:
        writer = csv.writer(stream)
        writer.writerow([*COLUMNS, *class_names])
        for name, label, predicted, row, loss, *more in columns:
            answer = "" if predicted == NO_CLASS else class_names[predicted]
            writer.writerow([name, class_names[label], answer, row[predicted], loss, *more, *row])


def results_folder(run: Path, split: str, other: Path | None = None) -> Path:
    """Folder of the results on ``split``: ``report/test``, or ``report/test-NAME`` for other data than the run's own.

    Other data is known by its path: of two with the same name, the second has ``report/test-NAME-2``.

    Args:
        run: The run's folder.
        split: The split that is measured.
        other: Folder or file of other data.
    """
    if other is None:
        return run / FOLDER / split
    name = (other.stem if other.is_file() else other.name) or "data"
    for number in count(1):
        folder = run / FOLDER / f"{split}-{name}{f'-{number}' * (number > 1)}"
        if not folder.exists() or _measured_data(folder) == str(other):
            return folder
    raise AssertionError  # count does not end


def _measured_data(folder: Path) -> str | None:
    try:
        return str(read_json(folder / METRICS)["data"])
    except (OSError, ValueError, KeyError):
        return None


def write_metrics(folder: Path, metrics: dict[str, Any]) -> None:
    """Write metrics.json."""
    write_json(folder / METRICS, metrics)


def write_faces(folder: Path, faces: list[dict[str, Any]]) -> None:
    """Write faces.json."""
    write_json(folder / FACES, faces, indent=None)


def read_results(folder: Path) -> SplitResults | None:
    """Read the results on a split; None if there are none.

    Raises:
        DataError: A file is damaged, or of an earlier version whose metrics had other names.
    """
    if not ((folder / METRICS).is_file() and (folder / PREDICTIONS).is_file()):
        return None
    try:
        metrics = read_json(folder / METRICS)
        if not isinstance(metrics, dict):
            raise ValueError
        metrics.setdefault("bias_warnings", metrics.pop("flattery", []))  # as version 0.1 wrote them
        if missing := REQUIRED - metrics.keys():
            raise DataError(
                f"{folder / METRICS} is of another version, without {min(missing)}; measure the checkpoint again"
            )
        return SplitResults(folder, metrics, *_read_predictions(folder / PREDICTIONS, list(metrics["per_class"])))
    except (OSError, ValueError, TypeError, LookupError, csv.Error) as error:
        raise DataError(f"{folder}: {METRICS} or {PREDICTIONS} is damaged; measure the checkpoint again") from error


def read_leaked(folder: Path) -> Tensor | None:
    """Read which images the model has seen, or a copy of them, bool ``(N,)``; None if unknown."""
    with (folder / PREDICTIONS).open(newline="", encoding="utf-8", errors=PATH_ERRORS) as stream:
        found = [row["leaked"] for row in csv.DictReader(stream)]
    return None if "" in found else torch.tensor([leak == "True" for leak in found], dtype=torch.bool)


def _read_predictions(path: Path, class_names: list[str]) -> tuple[tuple[str, ...], EvalOutputs]:
    with path.open(newline="", encoding="utf-8", errors=PATH_ERRORS) as stream:
        header, *rows = csv.reader(stream)
    first = len(header) - len(class_names)  # version 0.1 wrote no subjects
    known = rows and header[first - 1] == "subject" and rows[0][first - 1]
    subjects = torch.tensor([int(row[first - 1]) for row in rows]) if known else None
    probabilities = torch.tensor([[float(p) for p in row[first:]] for row in rows], dtype=torch.double)
    labels = torch.tensor([class_names.index(row[1]) for row in rows])
    return tuple(row[0] for row in rows), EvalOutputs(probabilities.log(), labels, torch.arange(len(rows)), subjects)
