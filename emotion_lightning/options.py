"""What each option does to a run: one table, read by resume, comparison, audit and TensorBoard's hyperparameters."""

from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any


class Effect(Enum):
    """What changes in a run when an option changes."""

    LEARNING = "which weights come out: a resume must keep it, runs are compared by it"
    SOURCE = "which images are read: a resume compares the images themselves, by their fingerprint"
    MEASURING = "what is measured of the same weights"
    MACHINE = "how fast and where the same is computed"
    OUTPUT = "what is shown or written, and where"


_MODEL = {
    Effect.LEARNING: (
        *("backbone", "pretrained", "batch_norm", "mean", "std", "head", "dropout_rate", "hidden_features"),
        *("lr_backbone", "lr_classifier", "weight_decay", "eps", "lr_schedule", "pct_start", "label_smoothing"),
        *("mixup_alpha", "cutmix_alpha", "mix_prob"),
    ),
    Effect.MEASURING: ("tta",),
    Effect.MACHINE: ("compile",),
}
_DATA = {
    Effect.LEARNING: (
        *("image_size", "resolution_schedule", "augmentation", "batch_size", "leaks", "conflicts", "balance"),
        *("merge_classes", "drop_classes", "class_names", "fer_plus"),
    ),
    Effect.SOURCE: (
        *("root", "splits_file", "corrections", "layout", "group_regex", "unreadable", "allow_outside"),
        *("split_seed", "folds", "fold"),
    ),
    Effect.MEASURING: ("test_split",),
    Effect.MACHINE: ("eval_batch_size", "num_workers", "cache_gb"),
}
_TRAINER = {
    Effect.LEARNING: (
        *("max_epochs", "min_epochs", "max_steps", "min_steps", "precision", "accumulate_grad_batches"),
        *("gradient_clip_val", "gradient_clip_algorithm", "limit_train_batches", "overfit_batches", "sync_batchnorm"),
    ),
    Effect.MEASURING: (
        *("limit_val_batches", "limit_test_batches", "limit_predict_batches", "val_check_interval"),
        *("check_val_every_n_epoch", "num_sanity_val_steps"),
    ),
    Effect.MACHINE: (
        *("accelerator", "strategy", "devices", "num_nodes", "deterministic", "benchmark", "inference_mode"),
        *("use_distributed_sampler", "reload_dataloaders_every_n_epochs", "plugins", "max_time"),
    ),
    Effect.OUTPUT: (
        *("logger", "callbacks", "fast_dev_run", "log_every_n_steps", "enable_checkpointing", "enable_progress_bar"),
        *("enable_model_summary", "profiler", "detect_anomaly", "barebones", "default_root_dir"),
        *("enable_autolog_hparams", "model_registry"),
    ),
}
_CALLBACKS = {
    Effect.LEARNING: ("unfreeze.schedule", "ema.decay", "early_stopping.patience", "early_stopping.min_delta"),
    Effect.MEASURING: ("predict.precision", "evaluation.groups", "evaluation.robustness"),
    Effect.OUTPUT: (
        *("checkpoint.every_n_epochs", "checkpoint.every_n_minutes", "tensorboard.every_n_epochs", "report.write"),
        *("report.baseline_accuracy", "report.baseline_f1", "report.baseline_run", "report.baseline_predictions"),
    ),
}
_COMMAND = {
    Effect.LEARNING: ("seed_everything",),
    Effect.OUTPUT: ("ckpt_path", "resume", "name", "weights_only", "verbose", "dry_run", "lr_find", "seeds", "folds"),
}

GROUPS: Mapping[str, Mapping[Effect, tuple[str, ...]]] = {
    "model.": _MODEL,
    "data.": _DATA,
    "trainer.": _TRAINER,
    "": _CALLBACKS,
}

PROGRAM = "python -m emotion_lightning"
"""How a command begins."""

OPTIONS: Mapping[str, Effect] = {
    f"{prefix}{name}": effect
    for prefix, group in (*GROUPS.items(), ("", _COMMAND))
    for effect, names in group.items()
    for name in names
}
"""Effect of every option, by its name on the command line without dashes."""

OF_FACES = ("face.detect", "face.model")
"""Options of the commands that cut faces out, which are no runs."""

AUDITED = (
    "root",
    "image_size",
    "cache_gb",
    "splits_file",
    "corrections",
    "split_seed",
    "folds",
    "fold",
    "layout",
    "merge_classes",
    "drop_classes",
    "group_regex",
    "allow_outside",
)
"""Options of the data that change what an audit finds, or how fast."""

MAPPINGS = tuple(name for name in OPTIONS if name.endswith((".schedule", ".resolution_schedule", ".merge_classes")))
"""Options whose value is a mapping, and which are compared as one."""

RENAMED = {
    "data.size_schedule": "data.resolution_schedule",
    "data.splits": "data.splits_file",
    "data.format": "data.layout",
    "data.merge": "data.merge_classes",
    "data.drop": "data.drop_classes",
    "data.group": "data.group_regex",
    "data.finetune_epoch": "data.unfreeze_epoch",
    "dashboard.every_n_epochs": "tensorboard.every_n_epochs",
}
"""Names of options in the runs of version 0.1, and what they are called now."""


def changes_learning(name: str) -> bool:
    """Say whether the option ``name``, such as ``model.eps``, decides which weights come out of a run."""
    return OPTIONS.get(name) is Effect.LEARNING


def option_named(parameter: str) -> str | None:
    """Full name of the option that ``parameter``, with or without its group, stands for; None if there is none.

    Of two, it is the trainer's, whose parameters Lightning names without a group.
    """
    if parameter in OPTIONS or parameter in OF_FACES:
        return parameter
    found = [name for name in OPTIONS if name.rpartition(".")[2] == parameter]
    found = [name for name in found if name.startswith("trainer.")] or found
    return found[0] if len(found) == 1 else None


def flatten(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the full name and the value of every option in a nested ``config``."""
    for key, value in config.items():
        if isinstance(value, Mapping) and value and f"{prefix}{key}" not in MAPPINGS:
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def differences(configs: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Options that change learning and in which runs differ, with the value in each of their ``configs``, by name."""
    flat = {name: dict(flatten(config)) for name, config in configs.items()}
    every = dict.fromkeys(option for values in flat.values() for option in values if changes_learning(option))
    found = {option: {name: values.get(option) for name, values in flat.items()} for option in every}
    return {option: values for option, values in found.items() if len({repr(each) for each in values.values()}) > 1}


def renamed(config: Mapping[str, Any]) -> dict[str, Any]:
    """Give the options in a nested ``config`` that an earlier version wrote the names that they have now."""
    groups: dict[str, Any] = {}
    for group, values in config.items():
        if not isinstance(values, Mapping):
            groups[group] = values
            continue
        for name, value in values.items():
            new_group, _, new_name = RENAMED.get(f"{group}.{name}", f"{group}.{name}").partition(".")
            groups.setdefault(new_group, {})[new_name] = value
    return groups
