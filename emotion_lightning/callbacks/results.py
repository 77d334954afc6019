"""What a test measured, as metrics.json in the folder of the run that the checkpoint belongs to."""

import json
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info

from emotion_lightning.evaluation.classification_report import classification_report
from emotion_lightning.evaluation.intervals import bootstrap_intervals
from emotion_lightning.evaluation.metrics import PADDING, EpochScores, accuracy_and_f1, per_class
from emotion_lightning.output import make_writable, run_folder, written_whole

PACKAGES = ("emotion_lightning", "lightning", "torch", "torchvision", "timm", "torchmetrics", "pillow")


class Results(Callback):
    """Writes ``metrics.json`` when a test ends: what was measured, on what, in which state, with which checkpoint.

    Everything is measured twice: on all images, and on those that the model has seen neither themselves nor a copy of.
    """

    def __init__(self) -> None:
        self._leak_free: EpochScores | None = None
        self._leaked = torch.empty(0)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make sure that the file can be written, before the test; find out which images leak."""
        make_writable(run_folder(trainer))
        leaked = _datamodule(trainer, "leaked")
        self._leak_free = None
        if leaked is not None:
            self._leak_free = EpochScores(len(pl_module.hparams["class_names"])).to(pl_module.device)
            self._leaked = leaked.to(pl_module.device)

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Add a batch's images without a copy to their own figures."""
        if self._leak_free is not None:
            _, labels, indices = batch
            labels = labels.masked_fill(self._leaked[indices], PADDING)
            self._leak_free.update(outputs["logits"], labels, outputs["losses"])

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the figures of the images without a copy."""
        if self._leak_free is not None and (confusion := self._leak_free.compute()[0]).any():
            shown = accuracy_and_f1(confusion)
            pl_module.log_dict({f"test_leak_free/{name}": value for name, value in shown.items()})

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the file."""
        scores, names = pl_module.test_scores, list(pl_module.hparams["class_names"])
        assert isinstance(scores, EpochScores)
        whole = figures(scores, names)  # asks all ranks
        leak_free = None if self._leak_free is None else figures(self._leak_free, names)
        metrics = {
            "split": _datamodule(trainer, "test_split") or "test",
            "data": str(_datamodule(trainer, "root") or "built-in"),
            **whole,
            "leaked": None if leak_free is None else whole["n"] - leak_free["n"],
            "leak_free": leak_free if leak_free and leak_free["n"] else None,
            "audit": _datamodule(trainer, "state"),
            "checkpoint": None if trainer.ckpt_path is None else str(trainer.ckpt_path),
            "versions": {package: _version(package) for package in PACKAGES},
        }
        path = run_folder(trainer) / "metrics.json"
        if trainer.is_global_zero:
            replaced = ", in place of an earlier test's" if path.is_file() else ""
            with written_whole(path) as temporary:
                temporary.write_text(json.dumps(metrics, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
            rank_zero_info(f"\n{classification_report(scores.compute()[0], names)}\n\n{_headline(metrics)}")
            rank_zero_info(f"Wrote {path}{replaced}")


def _headline(metrics: dict[str, Any]) -> str:
    """Say the headline figures with their intervals, on all images and on those without a copy."""
    lines = []
    for where, found in (("all", metrics), ("leak-free", metrics["leak_free"])):
        if found and found["n"]:
            shown = (
                f"{name} {found[name]:.4f} ({low:.4f} to {high:.4f})"
                for name, (low, high) in found["intervals"].items()
            )
            lines.append(f"{found['n']:,} {where} images: {', '.join(shown)}")
    return "\n".join([*lines, "In brackets: 95 % bootstrap intervals"])


def figures(scores: EpochScores, class_names: Sequence[str]) -> dict[str, Any]:
    """Every figure of ``scores`` in plain types."""
    confusion, loss = scores.compute()
    columns = {name: values.tolist() for name, values in per_class(confusion).items()}
    columns["support"] = confusion.sum(dim=1).tolist()
    return {
        "n": int(confusion.sum()),
        "loss": loss,
        **accuracy_and_f1(confusion),
        "intervals": bootstrap_intervals(confusion) if confusion.any() else {},
        "per_class": {
            name: {column: values[label] for column, values in columns.items()}
            for label, name in enumerate(class_names)
        },
    }


def _datamodule(trainer: Trainer, name: str) -> Any:
    return getattr(getattr(trainer, "datamodule", None), name, None)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:  # run from a checkout that is not installed
        return None
