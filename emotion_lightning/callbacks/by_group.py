"""The groups that a checkpoint is measured by, as the data has them."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from lightning.pytorch import Trainer
from torch import Tensor

from emotion_lightning.callbacks.data import data_of
from emotion_lightning.data.sources.columns import column
from emotion_lightning.errors import UsageError
from emotion_lightning.evaluation.groups import crossed, group_metrics
from emotion_lightning.evaluation.outputs import EvalOutputs
from emotion_lightning.model.module import EmotionClassifier
from emotion_lightning.runs.config import load_checkpoint, run_options

Columns = Mapping[str, Sequence[str | None]]


def columns_named(trainer: Trainer, names: Sequence[str]) -> Columns:
    """The group of each image of the data, by the names of columns.

    Raises:
        UsageError: There is no such column.
    """
    data = data_of(trainer)
    if names and data is None:
        raise UsageError("`evaluation.groups` are columns of the data, which EmotionDataModule reads")
    return {} if data is None else {name: column(name, data.manifest.columns, data.manifest.names) for name in names}


def columns_there(trainer: Trainer, names: Sequence[str]) -> tuple[Columns, list[str]]:
    """The same, and a note for each column which the run of a checkpoint had, and other data has not.

    Raises:
        UsageError: There is no such column, and it was not the run's.
    """
    data = data_of(trainer)
    if data is None or not data.other or trainer.ckpt_path is None:
        return columns_named(trainer, names), []
    saved = run_options(load_checkpoint(str(trainer.ckpt_path))).get("evaluation", {}).get("groups") or ()
    found: dict[str, Sequence[str | None]] = {}
    lacking = []
    for name in names:
        try:
            found |= columns_named(trainer, [name])
        except UsageError:
            if name not in saved:
                raise
            lacking.append(f"This data has no {name}, by which the run's own data is measured in groups.")
    return found, lacking


def metrics_by_group(
    model: EmotionClassifier, outputs: EvalOutputs, leaked: Tensor | None, columns: Columns
) -> dict[str, Any]:
    """Metrics by the values of each column, and of two crossed where groups are large enough.

    Where the model has seen some of the images, they are of the others.
    """
    kept = torch.ones_like(outputs.labels, dtype=torch.bool) if leaked is None else ~leaked
    if not columns or not kept.any() or not outputs.answered.all():
        return {}
    some = outputs.where(kept)
    values = {name: [every[index] for index in some.indices.tolist()] for name, every in columns.items()}
    found = {
        name: group_metrics(some, each, model.class_names, model.temperature)
        for name, each in (*values.items(), *crossed(values))
        if any(each)
    }
    return {name: each for name, each in found.items() if each["gaps"] or name in values}
