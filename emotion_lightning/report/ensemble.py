"""The averaged probabilities of several checkpoints that were measured on the same images."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from emotion_lightning.errors import DataError
from emotion_lightning.evaluation.ensemble import average
from emotion_lightning.evaluation.metrics import calibration_metrics, compute_metrics
from emotion_lightning.evaluation.outputs import EvalOutputs
from emotion_lightning.evaluation.significance import mcnemar
from emotion_lightning.report.results import (
    FOLDER,
    METRICS,
    SplitResults,
    read_leaked,
    read_results,
    write_metrics,
    write_predictions,
)

SHOWN = {"accuracy": "accuracy", "f1_macro": "macro F1"}


def read_member(run: Path, checkpoint: str) -> SplitResults:
    """Read the results that the newest test of a ``checkpoint`` has left in its ``run``.

    Raises:
        DataError: There are none, or they are of another checkpoint.
    """
    newest = max((run / FOLDER).glob(f"*/{METRICS}"), key=lambda file: file.stat().st_mtime, default=None)
    found = None if newest is None else read_results(newest.parent)
    if found is None or Path(found.metrics["checkpoint"]).resolve() != Path(checkpoint).resolve():
        raise DataError(f"{run}: the results of {checkpoint} are not there; test it alone")
    return found


def write_ensemble(members: Mapping[str, SplitResults], target: Path) -> str:
    """Average the probabilities of ``members``, by their checkpoints, and write metrics.json and predictions.csv.

    Args:
        members: Results of each checkpoint.
        target: Folder for a folder of the split.

    Returns:
        A table of the members and the ensemble, and where the files are.

    Raises:
        DataError: The members were measured on different images.
    """
    _refuse_others(members)
    results = list(members.values())
    first, folder = results[0], target / str(results[0].metrics["split"])
    leaks = [read_leaked(each.folder) for each in results]
    leaked = None if any(leak is None for leak in leaks) else torch.stack([x for x in leaks if x is not None]).any(0)
    outputs = average([each.outputs for each in results])
    metrics = _metrics(results, outputs, leaked) | {"members": {path: _short(each) for path, each in members.items()}}
    best = max(results, key=lambda each: float(each.metrics["accuracy"]))
    right = [found.predicted == first.outputs.labels for found in (outputs, best.outputs)]
    metrics["against_best_member"] = mcnemar(*right)._asdict()
    replaced = ", in place of earlier ones" if (folder / METRICS).is_file() else ""
    write_metrics(folder, metrics)
    write_predictions(folder, outputs, first.names, first.class_names, leaked)
    rows = {path: each.metrics for path, each in members.items()} | {f"mean of {len(results)}": metrics}
    return "\n".join([_table(rows), f"Wrote the metrics and predictions of the ensemble to {folder}{replaced}"])


def _refuse_others(members: Mapping[str, SplitResults]) -> None:
    (path, first), *others = members.items()
    for other, found in others:
        same = (first.names, first.metrics.get("images")) == (found.names, found.metrics.get("images"))
        if not same or not torch.equal(first.outputs.labels, found.outputs.labels):
            raise DataError(
                f"{path} and {other} were measured on different images, so they are not averaged; give the same ones by"
                " `data.splits_file` or `data.root`"
            )


def _metrics(members: Sequence[SplitResults], outputs: EvalOutputs, leaked: torch.Tensor | None) -> dict[str, Any]:
    """What the metrics of one checkpoint say, as far as it holds for an ensemble; an image one member saw is leaked."""
    same = ("split", "data", "other_data", "of", "images", "audit", "versions")
    first, of_any = members[0], ("notes", "bias_warnings")
    subset = first.metrics["classes"] < len(first.class_names)
    unseen = None if leaked is None else outputs.where(~leaked)
    return {
        **{name: first.metrics.get(name) for name in same},
        **{name: [*dict.fromkeys(said for each in members for said in each.metrics[name])] for name in of_any},
        **compute_metrics(outputs, first.class_names, subset),
        "leaked": None if leaked is None else int(leaked.sum()),
        "leak_free": compute_metrics(unseen, first.class_names, True) if unseen and len(unseen.labels) else None,
        "calibration": calibration_metrics(outputs, 1.0),
    }


def _short(found: SplitResults) -> dict[str, Any]:
    return {name: found.metrics[name] for name in (*SHOWN, "loss", "intervals", "seed", "weights")}


def _table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    width = max(map(len, rows))
    lines = [f"{'':<{width}}  {'   '.join(f'{title} (95 % interval)' for title in SHOWN.values())}"]
    for name, metrics in rows.items():
        cells = [f"{metrics[key]:.4f} ({_interval(metrics, key)})".ljust(len(SHOWN[key]) + 17) for key in SHOWN]
        lines.append(f"{name:<{width}}  {'  '.join(cells)}".rstrip())
    return "\n" + "\n".join(lines)


def _interval(metrics: Mapping[str, Any], key: str) -> str:
    low, high = metrics["intervals"].get(key, (float("nan"),) * 2)
    return f"{low:.4f} to {high:.4f}"
