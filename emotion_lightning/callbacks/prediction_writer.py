"""What a model thinks of images without labels, as a CSV file."""

import csv
from pathlib import Path
from typing import Any, cast

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from emotion_lightning.batch import IGNORE_INDEX
from emotion_lightning.callbacks.data import data_of
from emotion_lightning.errors import UsageError
from emotion_lightning.runs.files import atomic_csv, ensure_writable
from emotion_lightning.runs.folder import run_dir


class PredictionWriter(Callback):
    """Writes one row per image: file path, label, its probability, and the probability of every class.

    Args:
        output: CSV file to write; by default predictions.csv in the folder of the checkpoint's run.
    """

    def __init__(self, output: str | None = None):
        self.output = None if output is None else Path(output).expanduser()
        self._batches: list[tuple[Tensor, Tensor]] = []

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make sure that the file can be written, before anything is predicted."""
        if self.output is not None and self.output.is_dir():
            raise UsageError(f"`output` {self.output} is a folder; name a .csv file")
        ensure_writable(self._path(trainer).parent, "`output`")

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep a batch's probabilities."""
        probabilities, indices = outputs
        of_all_ranks = [cast(Tensor, pl_module.all_gather(values)).cpu() for values in (probabilities, indices)]
        self._batches.append((of_all_ranks[0].flatten(end_dim=-2), of_all_ranks[1].flatten()))

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the file, in the order of the images."""
        probabilities = torch.cat([batch[0] for batch in self._batches])
        indices = torch.cat([batch[1] for batch in self._batches])
        self._batches = []
        path = self._path(trainer)
        if not trainer.is_global_zero:
            return
        rows = sorted(
            (i, p) for i, p in zip(indices.tolist(), probabilities.tolist(), strict=True) if i != IGNORE_INDEX
        )
        data = data_of(trainer)
        assert data is not None  # it has the images
        paths = data.predict_files.paths
        replaced = ", in place of an earlier one" if path.is_file() else ""
        _write(path, pl_module.hparams["class_names"], [(str(paths[i]), p) for i, p in rows])
        rank_zero_info(f"Wrote {len(rows):,} predictions to {path}{replaced}")

    def _path(self, trainer: Trainer) -> Path:
        return self.output or run_dir(trainer) / "predictions.csv"


def _write(path: Path, class_names: list[str], rows: list[tuple[str, list[float]]]) -> None:
    with atomic_csv(path) as file:
        writer = csv.writer(file)
        writer.writerow(["filepath", "label", "probability", *class_names])
        for name, probabilities in rows:
            best = max(probabilities)
            label = class_names[probabilities.index(best)]
            writer.writerow([name, label, f"{best:.6f}", *(f"{p:.6f}" for p in probabilities)])
