"""The report, written when a checkpoint has been validated or tested."""

from functools import partial
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from emotion_lightning.callbacks.data import data_of
from emotion_lightning.callbacks.metrics_writer import current_outputs, evaluated_split, file_names, other_data
from emotion_lightning.data.datamodule import EmotionDataModule
from emotion_lightning.errors import UsageError
from emotion_lightning.evaluation.gradcam import gradcam_overlay
from emotion_lightning.evaluation.outputs import EvalOutputs
from emotion_lightning.report.baseline import Baseline
from emotion_lightning.report.gallery import render_examples, select_examples
from emotion_lightning.report.results import results_folder, write_faces
from emotion_lightning.runs.config import load_checkpoint, run_options
from emotion_lightning.runs.folder import run_dir
from emotion_lightning.runs.newest import run_named


class Report(Callback):
    """Writes ``report/index.html`` into the run's folder: what the model can and cannot do, with its uncertainty.

    It reads what :class:`MetricsWriter` has written, which must stand before it in the list of callbacks.

    Args:
        baseline_accuracy: Accuracy of a baseline to compare with, in [0, 1].
        baseline_f1: Macro F1 of a baseline to compare with, in [0, 1].
        baseline_run: Another run to compare with, by its name or folder; differences are tested image by image.
        baseline_predictions: CSV file of what another model predicts for the same images (columns filepath and
            predicted), to compare with in the same way.
        write: false leaves out the page; metrics and predictions are written all the same.

    Raises:
        UsageError: A metric is outside its range, there is no such run or file, or both are given.
    """

    def __init__(
        self,
        baseline_accuracy: float | None = None,
        baseline_f1: float | None = None,
        baseline_run: str | None = None,
        baseline_predictions: str | None = None,
        write: bool = True,
    ):
        if baseline_run is not None and baseline_predictions is not None:
            raise UsageError("`baseline_run` and `baseline_predictions` are two baselines: give one")
        path = None if baseline_predictions is None else Path(baseline_predictions).expanduser()
        path = path if baseline_run is None else run_named(baseline_run)
        self.write = write
        self.baseline = Baseline(baseline_accuracy, baseline_f1, path)
        given = {
            "accuracy": baseline_accuracy,
            "f1": baseline_f1,
            "run": baseline_run,
            "predictions": baseline_predictions,
        }
        self._given = {f"baseline_{name}": str(value) for name, value in given.items() if value is not None}

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report on a checkpoint's validation; the validations within a fit are left to TensorBoard."""
        if trainer.state.fn == "validate":
            self._report(trainer, pl_module)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report on a test."""
        self._report(trainer, pl_module)

    def _report(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self.write:
            return
        outputs, folder = current_outputs(trainer, pl_module), run_dir(trainer)  # both ask all ranks
        if not trainer.is_global_zero:
            return
        from emotion_lightning.report.page import write_report  # what draws is slow to import

        data = data_of(trainer)
        faces = [] if data is None else _faces(data, pl_module, outputs)
        other = other_data(trainer)
        target = results_folder(folder, evaluated_split(trainer), other)
        write_faces(target, faces)
        if other is None:
            rank_zero_info(f"Report: {write_report(folder, self.baseline)}")
            return
        saved = run_options(load_checkpoint(str(trainer.ckpt_path))).get("report", {})
        own = all(str(saved.get(name)) == value for name, value in self._given.items())
        baseline = Baseline() if own else self.baseline  # that of the run is of its own data
        rank_zero_info(f"Report: {write_report(folder, baseline, on=target)}")


def _faces(data: EmotionDataModule, pl_module: LightningModule, outputs: EvalOutputs) -> list[dict[str, Any]]:
    return render_examples(
        select_examples(outputs), outputs, file_names(data, outputs), data.images, partial(_overlaid, pl_module)
    )


def _overlaid(pl_module: LightningModule, images: Tensor, classes: Tensor) -> Tensor:
    try:
        return gradcam_overlay(pl_module, images, classes)
    except UsageError as error:  # the rest of the report is worth having
        rank_zero_info(f"The report shows no heat: {error}")
        return images
