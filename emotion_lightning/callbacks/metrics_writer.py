"""Metrics and predictions of a measured split, written into the folder of the checkpoint's run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from emotion_lightning.callbacks.by_group import columns_named, columns_there, metrics_by_group
from emotion_lightning.callbacks.data import data_of
from emotion_lightning.callbacks.robustness import Robustness
from emotion_lightning.data.audit.coverage import absent_note, corrected_note, limit_note, unknown_note
from emotion_lightning.data.datamodule import EmotionDataModule
from emotion_lightning.data.sources.manifest import Split
from emotion_lightning.evaluation.classification_report import classification_report
from emotion_lightning.evaluation.metrics import OVERALL, calibration_metrics, compute_metrics, selective_metrics
from emotion_lightning.evaluation.outputs import EvalOutputs, OutputCollector
from emotion_lightning.model.module import EmotionClassifier
from emotion_lightning.report.conditions import groups_said, robustness_said
from emotion_lightning.report.results import (
    FACES,
    METRICS,
    ROBUSTNESS,
    results_folder,
    write_metrics,
    write_predictions,
)
from emotion_lightning.runs.files import ensure_writable, write_json
from emotion_lightning.runs.folder import run_dir
from emotion_lightning.runs.provenance import versions, weights_hash


class MetricsWriter(Callback):
    """Writes ``report/SPLIT/metrics.json`` and ``predictions.csv`` when a checkpoint is validated or tested.

    All metrics are computed twice: on all images, and on those that are no copy of an image that the model has seen.
    The validations within a fit write nothing.

    Args:
        groups: Columns of the data's tables, such as age or camera, or folder:1 for the first folder of each image's
            path, by whose values the metrics are also computed, with the gap between the best and the worst group and
            a test of it; two columns crossed, too, where enough images are left. No group is guessed from a face.
        robustness: Whether a test measures corrupted copies of its images, too: darker, blurred, compressed, smaller,
            covered and so on, in five strengths, which takes about 60 times as long. test --robustness is short for it.

    Raises:
        UsageError: When a run starts: the data has no such column, or too many values in one.
    """

    def __init__(self, groups: list[str] | None = None, robustness: bool = False):
        self.groups, self.robustness = list(dict.fromkeys(groups or ())), robustness
        self._robustness: Robustness | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse groups that the data does not have, before anything is trained."""
        columns_named(trainer, self.groups)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make sure that the files can be written and the groups are there, before the test."""
        ensure_writable(run_dir(trainer))
        self._check_groups(trainer)
        self._robustness = Robustness(trainer) if self.robustness else None

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        """Measure corrupted copies of a batch."""
        if self._robustness is not None:
            self._robustness.add(cast(EmotionClassifier, pl_module), batch)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make sure that the files can be written, before a checkpoint is validated."""
        if trainer.state.fn == "validate":
            ensure_writable(run_dir(trainer))
            self._check_groups(trainer)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the results on the validation split, unless it is validated within a fit."""
        if trainer.state.fn == "validate":
            self._write(trainer, pl_module, "val")

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the results on the test split, and log the metrics of images that are no copy."""
        metrics = self._write(trainer, pl_module, evaluated_split(trainer))
        if free := metrics["leak_free"]:
            pl_module.log_dict({f"test_leak_free/{name}": free[name] for name in free["intervals"]})

    def _check_groups(self, trainer: Trainer) -> None:
        self._columns, self._lacking = columns_there(trainer, self.groups)

    def _write(self, trainer: Trainer, pl_module: LightningModule, split: Split) -> dict[str, Any]:
        outputs, data = current_outputs(trainer, pl_module), data_of(trainer)  # asks all ranks
        outputs = outputs if data is None else outputs._replace(subjects=data.subjects(outputs.indices))
        leaked = _leaked(trainer, split, outputs)
        names = list(pl_module.hparams["class_names"])
        metrics = _metrics(trainer, pl_module, split, outputs, leaked)
        metrics["notes"] += self._lacking
        metrics["groups"] = metrics_by_group(cast(EmotionClassifier, pl_module), outputs, leaked, self._columns)
        tested, self._robustness = self._robustness, None
        robust = None if tested is None else tested.measured(cast(EmotionClassifier, pl_module), outputs)
        run = run_dir(trainer)  # asks all ranks, too
        if not trainer.is_global_zero:
            return metrics
        folder = results_folder(run, split, other_data(trainer))
        replaced = ", in place of earlier ones" if (folder / METRICS).is_file() else ""
        (folder / FACES).unlink(missing_ok=True)  # of an earlier measurement
        (folder / ROBUSTNESS).unlink(missing_ok=True)
        write_metrics(folder, metrics)
        if robust is not None:
            write_json(folder / ROBUSTNESS, robust)
        write_predictions(folder, outputs, file_names(data_of(trainer), outputs), names, leaked)
        part = metrics["other_data"] or metrics["n"] < metrics["of"]
        table = classification_report(outputs.confusion, names, subset=part)
        said = (f"\n{table}", _summary(metrics), groups_said(metrics["groups"]), robustness_said(robust))
        rank_zero_info("\n\n".join(filter(None, said)))
        rank_zero_info(f"Wrote the metrics and predictions of the {split} split to {folder}{replaced}")
        return metrics


def current_outputs(trainer: Trainer, pl_module: LightningModule) -> EvalOutputs:
    """Outputs of the validation or test that is under way, from all ranks."""
    collector = pl_module.test_outputs if trainer.state.fn == "test" else pl_module.val_outputs
    return cast(OutputCollector, collector).outputs()


def evaluated_split(trainer: Trainer) -> Split:
    """Name of the split that is being measured."""
    if trainer.state.fn != "test":
        return "val"
    data = data_of(trainer)
    return "test" if data is None else data.test_split


def other_data(trainer: Trainer) -> Path | None:
    """Where the data is, if it is other data than that of the run whose checkpoint is measured."""
    data = data_of(trainer)
    return Path(_name(data)) if data is not None and data.other else None


def _name(data: EmotionDataModule) -> str:
    if data.root is None:
        return "built-in"
    return str(data.root.resolve() if data.other else data.root)


def _notes(data: EmotionDataModule | None, split: Split, outputs: EvalOutputs, names: Sequence[str]) -> list[str]:
    """What the measurement does not cover, in sentences."""
    if data is None:
        return []
    measured, images = len(outputs.labels), len(data.indices(split))
    if measured == images:
        return data.class_notes(split)
    counts = dict(zip(names, outputs.labels.bincount(minlength=len(names)).tolist(), strict=True))
    notes = [*unknown_note(data.manifest.unknown), *absent_note(counts, split, other=True)]
    return [*limit_note(measured, images, split), *notes]


def _metrics(
    trainer: Trainer, pl_module: LightningModule, split: Split, outputs: EvalOutputs, leaked: Tensor | None
) -> dict[str, Any]:
    data = data_of(trainer)
    unseen = None if leaked is None else outputs.where(~leaked)
    images = len(outputs.labels) if data is None else len(data.indices(split))
    other = data is not None and data.other
    return {
        "split": split,
        "data": "unknown" if data is None else _name(data),
        "other_data": other,
        "of": images,
        "unknown_classes": {} if data is None else dict(data.manifest.unknown),
        "notes": _notes(data, split, outputs, pl_module.hparams["class_names"]),
        "bias_warnings": _not_numbers(outputs) + ([] if data is None else data.exposure.bias_warnings(split)),
        **_measured(pl_module, outputs, subset=other or len(outputs.labels) < images),
        "corrected": None if data is None else _corrected(data, split, outputs, pl_module.hparams["class_names"]),
        "leaked": None if leaked is None else int(leaked.sum()),
        "leak_free_of_both": _apart(pl_module, data, split, outputs, leaked) if data is not None and other else None,
        "leak_free": _measured(pl_module, unseen, subset=True) if unseen is not None and len(unseen.labels) else None,
        "calibration": calibration_metrics(outputs, float(cast(float, pl_module.temperature)))
        | {"fitted_with_tta": pl_module.temperature_tta},
        "tta": pl_module.hparams["tta"],
        "seed": pl_module.hparams["seed"],
        "audit": None if data is None else data.exposure.summary(),
        "checkpoint": None if trainer.ckpt_path is None else str(trainer.ckpt_path),
        "weights": weights_hash(pl_module),
        "parameters": sum(parameter.numel() for parameter in pl_module.parameters()),
        "images": None if data is None else data.content_hash(outputs.indices),
        "versions": versions(),
    }


def _apart(
    pl_module: LightningModule, data: EmotionDataModule, split: Split, outputs: EvalOutputs, leaked: Tensor | None
) -> dict[str, Any] | None:
    """Metrics of other data's images that have a copy neither in the model's training data nor in its own."""
    copied = data.exposure.copied_within(split)[outputs.indices]
    kept = ~copied if leaked is None else ~copied & ~leaked
    found = compute_metrics(outputs.where(kept), pl_module.hparams["class_names"], subset=True) if kept.any() else {}
    return {name: found[name] for name in ("n", *OVERALL, "classes", "intervals")} if found else None


def _measured(pl_module: LightningModule, outputs: EvalOutputs, subset: bool) -> dict[str, Any]:
    model = cast(EmotionClassifier, pl_module)
    return {
        **compute_metrics(outputs, model.class_names, subset),
        "selective": selective_metrics(outputs, model.temperature, model.threshold),
    }


def _corrected(
    data: EmotionDataModule, split: Split, outputs: EvalOutputs, names: Sequence[str]
) -> dict[str, Any] | None:
    """Metrics on the labels before they were corrected, and how many were; None where none was."""
    given, left_out = data.manifest.given, sum(data.manifest.splits[i] == split for i in data.manifest.excluded)
    if given is None:
        return None
    old = outputs._replace(labels=torch.tensor(given)[outputs.indices])
    changed = int((old.labels != outputs.labels).sum())
    if not changed and not left_out:
        return None
    subset = data.other or len(outputs.labels) < len(data.indices(split))
    return {"labels": changed, "left_out": left_out, "as_given": compute_metrics(old, names, subset)}


def _not_numbers(outputs: EvalOutputs) -> list[str]:
    broken = int((~outputs.answered).sum())
    if not broken:
        return []
    return [f"For {broken:,} of {len(outputs.labels):,} images the model gave no numbers: it has diverged."]


def _leaked(trainer: Trainer, split: Split, outputs: EvalOutputs) -> Tensor | None:
    """Which rows of ``outputs`` are of images that the model has seen; None if unknown."""
    data = data_of(trainer)
    leaked = None if data is None else data.exposure.overlap_mask(split)
    return None if leaked is None else leaked[outputs.indices]


def file_names(data: EmotionDataModule | None, outputs: EvalOutputs) -> list[str]:
    """Path of each image of ``outputs`` as ``data`` names it, or else its position."""
    return [str(index) if data is None else data.manifest.names[index] for index in outputs.indices.tolist()]


def _averaged_over(found: dict[str, Any]) -> str:
    """Say over which classes macro F1 is, where some have no images."""
    every, present = len(found["per_class"]), sum(row["support"] > 0 for row in found["per_class"].values())
    if found["classes"] < every:
        return f"; macro F1 is over the {present} of {every} classes that they have"
    if present < every:
        return f"; macro F1 over the {present} of {every} classes that they have {found['f1_macro_present']:.4f}"
    return ""


def _selective(found: dict[str, Any], where: str) -> str:
    """Say what the threshold does to the answers for the images ``where`` they are."""
    selective = found["selective"]
    low, high = selective["intervals"]["precision"]
    return (
        f"At a probability of at least {selective['threshold']:.4f} it answers {selective['coverage']:.1%} of "
        f"{found['n']:,} {where} images, precision {selective['precision']:.4f} (Wilson: {low:.4f} to {high:.4f})"
    )


def _summary(metrics: dict[str, Any]) -> str:
    """Accuracy and F1 with their intervals, on all images and on those that are no copy, and the calibration."""
    lines = [*metrics["bias_warnings"], *metrics["notes"]]
    unseen = "not trained on" if metrics["split"] == "val" else "leak-free"
    for where, found in (("all", metrics), (unseen, metrics["leak_free"])):
        if found and found["intervals"]:
            shown = (
                f"{name} {found[name]:.4f} ({low:.4f} to {high:.4f})"
                for name, (low, high) in found["intervals"].items()
            )
            limited = found is metrics and found["n"] < found["of"]
            counted = f"{found['n']:,} of {found['of']:,}" if limited else f"{found['n']:,} {where}"
            lines.append(f"{counted} images: {', '.join(shown)}{_averaged_over(found)}")
    if corrected := metrics["corrected"]:
        given = ", ".join(f"{name} {corrected['as_given'][name]:.4f}" for name in metrics["intervals"])
        lines.append(f"On the labels before {corrected_note(corrected)}: {given}")
    drawn = f", of {metrics['subjects']:,} subjects" if metrics["subjects"] else ""
    lines.append(f"In brackets: 95 % bootstrap intervals{drawn}")
    found = metrics["calibration"]
    lines.append(f"Expected calibration error {found['ece']:.4f}")
    if found["fitted_with_tta"]:
        fitted = f"at the temperature of {found['temperature']:.3f} that was fitted to the validation split"
        lines[-1] += f", and {found['ece_scaled']:.4f} {fitted}"
    if metrics["selective"]["threshold"] is not None:
        lines.append(_selective(metrics["leak_free"] or metrics, unseen if metrics["leak_free"] else "all"))
    return "\n".join(lines)
