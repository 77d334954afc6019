"""A run's results on other data beside those on its own, on the classes that both have."""

from typing import Any

import torch

from emotion_lightning.evaluation.metrics import compute_metrics
from emotion_lightning.report.results import SplitResults, read_leaked
from emotion_lightning.report.run import Run


def elsewhere(run: Run) -> list[dict[str, Any]]:
    """A row for each test on other data: its classes, its metrics, and the run's own on these classes.

    Both are of images without a copy in the data that the model was trained on; those of other data without one in its
    own training split as well, so that a model which was trained there can be compared.
    """
    return [] if run.on else [_row(next(iter(run.results.values())), there) for there in run.elsewhere]


def _row(own: SplitResults, there: SplitResults) -> dict[str, Any]:
    metrics = there.metrics
    shared = [name for name, row in metrics["per_class"].items() if row["support"] and name in own.class_names]
    leaked, outputs = read_leaked(own.folder), own.outputs
    mask = torch.isin(outputs.labels, torch.tensor([own.class_names.index(name) for name in shared]))
    kept = mask if leaked is None else mask & ~leaked
    here = compute_metrics(outputs.where(kept), own.class_names, subset=True) if kept.any() else _nothing()
    apart = metrics.get("leak_free_of_both") or (metrics["leak_free"] if metrics["leaked"] else None) or metrics
    return {
        "folder": there.folder.name,
        "data": metrics["data"],
        "classes": shared,
        "there": apart | {"of": metrics["n"]},
        "here": here | {"of": int(mask.sum())},
    }


def _nothing() -> dict[str, Any]:
    return {"n": 0, "accuracy": None, "f1_macro": None, "intervals": {}}
