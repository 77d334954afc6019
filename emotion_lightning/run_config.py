"""The resolved configuration of a run: kept beside its checkpoints and inside them, and taken up again from there."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback

from emotion_lightning.errors import DataError, UsageError
from emotion_lightning.output import output_folder, write_json
from emotion_lightning.provenance import provenance
from emotion_lightning.serialization import load_safely

Config = dict[str, Any]
KEY = "config"
PRECISION = "precision"
"""Key of a checkpoint under which stands the precision that its run had in the end, whatever the options ask for."""

STARTS = "starts.json"
"""File that tells where a run comes from, with an entry for each time that it was started or resumed."""

CALLBACKS = ("unfreeze", "ema", "early_stopping", "checkpoint")
SHOWING = ("dashboard",)
"""Option groups that a resume takes up as well, but may change."""

# What must be as it was, for the numbers to be those of the checkpoint's run.
MODEL = ("model",)
RESUME = (
    *MODEL,
    *CALLBACKS,
    *(f"data.{name}" for name in ("image_size", "size_schedule", "batch_size", "seed", "class_names")),
    *(f"data.{name}" for name in ("merge", "drop", "leaks", "conflicts", "balance")),
    *(f"trainer.{name}" for name in ("max_epochs", "precision", "gradient_clip_val", "accumulate_grad_batches")),
)

MEASURING = ("model.tta",)
"""Options of the model that change how it is measured, and nothing about how it was trained."""

COMPUTING = ("model.compile",)
"""Options that change how the same is computed."""

WHOLE = ("unfreeze.schedule", "data.size_schedule", "data.merge")
"""Options that are mappings, and so compared as one."""


class RunConfig(SaveConfigCallback):
    """Writes config.yaml into a new run's folder, and the same into each of its checkpoints; and starts.json."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Save the configuration of a fit; a resumed run keeps the file it has, and a test writes none."""
        if stage == "fit" and self.config.data.batch_size == "auto":
            self.config.data.batch_size = trainer.datamodule.batch_size  # type: ignore[attr-defined]  # as was found
        if stage != "fit" or trainer.logger is None or self.config.get("ckpt_path"):
            return
        # rank 0 may have written the file before another rank looks, so it alone looks and tells the others
        folder = output_folder(trainer)
        if not trainer.strategy.broadcast((folder / self.config_filename).is_file()):
            super().setup(trainer, pl_module, stage)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add this start to those of the run."""
        if trainer.logger is None:
            return
        file = output_folder(trainer) / STARTS
        if trainer.is_global_zero:
            starts = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else []
            write_json(file, [*starts, provenance() | {"epoch": trainer.current_epoch}])

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Put the configuration into the checkpoint, as text, and the precision that came of it."""
        checkpoint[PRECISION] = trainer.precision
        checkpoint[KEY] = self.parser.dump(self.config, skip_unset=False, format="yaml")


def load_checkpoint(path: str) -> dict[str, Any]:
    """Load a local checkpoint without running code from it.

    Raises:
        DataError: The file is missing or damaged, or would run code.
    """
    checkpoint: dict[str, Any] = load_safely(path, "--ckpt_path", mmap=True)
    if not isinstance(checkpoint, dict) or "class_names" not in checkpoint.get("hyper_parameters", {}):
        raise DataError(f"--ckpt_path {path}: not a checkpoint of an emotion_lightning run")
    return checkpoint


def checkpoint_config(checkpoint: Mapping[str, Any], subcommand: str) -> Config:
    """Options of the run that wrote ``checkpoint``, as far as ``subcommand`` goes on with them."""
    model, data = dict(checkpoint["hyper_parameters"]), dict(checkpoint.get("datamodule_hyper_parameters", {}))
    data["class_names"] = model.pop("class_names")
    model.pop("seed", None)  # these two follow from other options
    data.pop("finetune_epoch", None)
    where = checkpoint.get("EmotionDataModule", {})
    for name in ("root", "splits"):  # as absolute paths, so that any folder will do to start from
        data[name] = where.get(name, data.get(name))
    saved = yaml.safe_load(checkpoint.get(KEY, "")) or {}
    trainer = saved.get("trainer", {})
    if subcommand == "fit":
        if trainer.get("logger") in (None, True):  # then the run goes on in the folder of its checkpoint
            trainer.pop("default_root_dir", None)
        return {"model": model, "data": data, "trainer": trainer} | {
            name: saved[name] for name in (*CALLBACKS, *SHOWING) if name in saved
        }
    if subcommand == "predict":  # never the training images unless they are asked for
        data["root"] = data["splits"] = None
    measuring = {"report": saved["report"]} if "report" in saved and subcommand != "predict" else {}
    return {"model": model, "data": data, "trainer": {k: v for k, v in trainer.items() if k == "precision"}} | measuring


def refuse_contradictions(saved: Mapping[str, Any], config: Mapping[str, Any], subcommand: str) -> None:
    """Refuse a ``config`` in which something differs from the ``saved`` one that would make it another run.

    Raises:
        UsageError: The first such option, with both values.
    """
    fixed = RESUME if subcommand == "fit" else MODEL
    now = dict(_flat(config))
    for name, before in _flat(saved):
        if not any(name == option or name.startswith(f"{option}.") for option in fixed) or name == "model.seed":
            continue  # free to differ; the model's seed is the data's
        if name in COMPUTING or (subcommand != "fit" and name in MEASURING):
            continue
        if now.get(name) != before:
            raise UsageError(
                f"--{name} {now.get(name)} contradicts the checkpoint, whose run has {before}; leave the option out"
                + (", or start a new run" if subcommand == "fit" else "")
            )


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, Mapping) and f"{prefix}{key}" not in WHOLE:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
