"""What a test measured, as metrics.json in the folder of the run that the checkpoint belongs to."""

import json
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info

from emotion_lightning.evaluation.metrics import EpochScores, accuracy_and_f1, per_class
from emotion_lightning.output import make_writable, run_folder, written_whole

PACKAGES = ("emotion_lightning", "lightning", "torch", "torchvision", "timm", "torchmetrics", "pillow")


class Results(Callback):
    """Writes ``metrics.json`` when a test ends: split, n, loss, accuracy, F1, per class, checkpoint and versions."""

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make sure that the file can be written, before the test."""
        make_writable(run_folder(trainer))

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the file."""
        metrics, path = test_metrics(trainer, pl_module), run_folder(trainer) / "metrics.json"  # asks all ranks
        if trainer.is_global_zero:
            replaced = ", in place of an earlier test's" if path.is_file() else ""
            with written_whole(path) as temporary:
                temporary.write_text(json.dumps(metrics, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
            rank_zero_info(f"Wrote {path}{replaced}")


def test_metrics(trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
    """Every figure of the test that has just ended."""
    scores, datamodule = pl_module.test_scores, getattr(trainer, "datamodule", None)
    assert isinstance(scores, EpochScores)
    confusion, loss = scores.compute()
    figures = {name: values.tolist() for name, values in per_class(confusion).items()}
    figures["support"] = confusion.sum(dim=1).tolist()
    names: list[str] = pl_module.hparams["class_names"]
    return {
        "split": getattr(datamodule, "test_split", "test"),
        "data": str(getattr(datamodule, "root", None) or "built-in"),
        "n": int(confusion.sum()),
        "loss": loss,
        **accuracy_and_f1(confusion),
        "per_class": {name: {figure: values[i] for figure, values in figures.items()} for i, name in enumerate(names)},
        "checkpoint": None if trainer.ckpt_path is None else str(trainer.ckpt_path),
        "versions": {package: _version(package) for package in PACKAGES},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:  # run from a checkout that is not installed
        return None
