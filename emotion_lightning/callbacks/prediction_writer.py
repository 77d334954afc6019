"""Predicted classes of images without labels, as a CSV file."""

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from emotion_lightning.batch import IGNORE_INDEX
from emotion_lightning.callbacks.data import data_of
from emotion_lightning.errors import UsageError
from emotion_lightning.runs.files import atomic_csv, ensure_writable
from emotion_lightning.runs.folder import run_dir


class PredictionWriter(BasePredictionWriter):
    """Writes one row per image: path, predicted class, its probability, and the probability of every class.

    Args:
        output: CSV file to write; by default predictions.csv in the folder of the checkpoint's run.
    """

    def __init__(self, output: str | None = None):
        super().__init__("epoch")
        self.output = None if output is None else Path(output).expanduser()

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make sure that the file can be written, before anything is predicted."""
        if data_of(trainer) is None:
            rank_zero_info("The images are those of a plain loader and have no paths, so no predictions.csv is written")
            return
        if self.output is not None and self.output.is_dir():
            raise UsageError(f"`output` {self.output} is a folder; name a .csv file")
        ensure_writable(self._path(trainer).parent, "`output`")

    def write_on_epoch_end(
        self, trainer: Trainer, pl_module: LightningModule, predictions: Sequence[Any], batch_indices: Sequence[Any]
    ) -> None:
        """Write the predictions of all ranks, in the order of the images; those of a plain loader have no paths."""
        data = data_of(trainer)
        if data is None:
            return
        columns = (torch.cat(values).to(pl_module.device) for values in zip(*predictions, strict=True))
        probabilities, indices = (pl_module.all_gather(values).cpu() for values in columns)  # type: ignore[union-attr]
        path = self._path(trainer)  # asks all ranks, too
        if not trainer.is_global_zero:
            return
        by_index = dict(zip(indices.flatten().tolist(), probabilities.flatten(end_dim=-2).tolist(), strict=True))
        by_index.pop(IGNORE_INDEX, None)  # padding
        paths = data.predict_files.paths
        class_names = list(pl_module.hparams["class_names"])
        replaced = ", in place of an earlier one" if path.is_file() else ""
        unanswered = 0
        with atomic_csv(path) as stream:
            writer = csv.writer(stream)
            writer.writerow(["filepath", "predicted", "probability", *class_names])
            for index, row in sorted(by_index.items()):
                predicted, broken = row.index(max(row)), any(map(math.isnan, row))
                unanswered += broken
                answer = "" if broken else class_names[predicted]
                writer.writerow([paths[index], answer, *(f"{p:.6f}" for p in (row[predicted], *row))])
        if unanswered:
            rank_zero_warn(f"For {unanswered:,} images the model gave no numbers: its weights have diverged")
        rank_zero_info(f"Wrote {len(by_index):,} predictions to {path}{replaced}")

    def _path(self, trainer: Trainer) -> Path:
        return self.output or run_dir(trainer) / "predictions.csv"
