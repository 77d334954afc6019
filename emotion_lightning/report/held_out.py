"""What models say of images that they have not seen: the validations of all folds of a fit."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from emotion_lightning.errors import DataError
from emotion_lightning.options import differences
from emotion_lightning.report.results import FOLDER, read_results
from emotion_lightning.report.run import Run
from emotion_lightning.runs.newest import order


class HeldOut(NamedTuple):
    """Names of images, the names of their classes when they were measured, and probabilities ``(N, classes)``."""

    names: tuple[str, ...]
    labels: tuple[str, ...]
    class_names: tuple[str, ...]
    probabilities: Tensor


def with_other_folds(run: Path) -> list[Path]:
    """Return ``run`` and the newest run beside it of each other fold, if it has folds."""
    own = Run(run).config
    if not own.get("data", {}).get("folds"):
        return [run]
    found = {_fold(run): run}
    beside = (file.parent for file in run.resolve().parent.glob("*/config.yaml"))
    for other in sorted(beside, key=order, reverse=True):
        if _same_cut(Run(other), own):
            found.setdefault(_fold(other), other)
    return [found[fold] for fold in sorted(found)]


def _fold(run: Path) -> int:
    return int(Run(run).config["data"].get("fold", 0))


def _same_cut(other: Run, own: dict[str, dict[str, object]]) -> bool:
    try:
        config = other.config
    except DataError:  # of a run that is damaged
        return False
    options = ("root", "folds", "split_seed", "corrections")
    same = all(config.get("data", {}).get(name) == own["data"].get(name) for name in options)
    return same and not differences({"own": own, "other": config})


def read_held_out(runs: Sequence[Path]) -> HeldOut:
    """Read the validations of ``runs``; an image that several have measured gets their mean.

    Raises:
        DataError: One was not validated, or they have other classes or labels.
    """
    found: defaultdict[str, list[Tensor]] = defaultdict(list)
    labels: dict[str, str] = {}
    class_names: list[str] = []
    for run in runs:
        results = read_results(run / FOLDER / "val")
        if results is None:
            raise DataError(f"{run} has no results of its validation split: let it end, or validate its checkpoint")
        class_names = class_names or results.class_names
        if results.class_names != class_names:
            raise DataError(f"{runs[0]} and {run} have other classes; give the folds of one fit")
        outputs = results.outputs
        for name, label, row in zip(results.names, outputs.labels.tolist(), outputs.probabilities, strict=True):
            if labels.setdefault(name, class_names[label]) != class_names[label]:
                raise DataError(f"{runs[0]} and {run} have other labels of {name}; give the folds of one fit")
            found[name].append(row)
    return HeldOut(tuple(labels), tuple(labels.values()), tuple(class_names), _means(found.values()))


def _means(rows: Iterable[list[Tensor]]) -> Tensor:
    return torch.stack([torch.stack(each).mean(0) for each in rows])
