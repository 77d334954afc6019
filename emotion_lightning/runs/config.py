"""The options that a checkpoint holds: which of them a command takes over, and which it may not change."""

import os
from collections.abc import Collection, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from emotion_lightning.batch import IMAGENET
from emotion_lightning.errors import DataError, UsageError
from emotion_lightning.options import OPTIONS, PROGRAM, changes_learning, flatten, renamed
from emotion_lightning.runs.folder import CHECKPOINTS, from_here, pasted, run_of
from emotion_lightning.runs.limited_yaml import load_mapping
from emotion_lightning.runs.loading import checked_file, load_safely
from emotion_lightning.runs.schema import check_types
from emotion_lightning.runs.trust import check_plain, trusted

Config = dict[str, Any]
KEY = "config"
READ = ("hyper_parameters", "datamodule_hyper_parameters", "EmotionDataModule", KEY)
"""What a checkpoint says of its run."""

MODEL = ("hyper_parameters", "datamodule_hyper_parameters", "EmotionDataModule", "state_dict", "calibration")
"""What of a checkpoint a model is restored from; its weights are the averaged ones."""

BEFORE_A_CHOICE: Config = {
    "batch_norm": "train",
    "head": "enhanced",
    "input_size": None,
    "mean": list(IMAGENET.mean),
    "std": list(IMAGENET.std),
}
"""Hyper-parameters as they were in runs of before they could be chosen, whose checkpoints have none."""

FOUND = {"trainer.precision": "16-mixed", "data.batch_size": "auto", "model.batch_norm": "auto"}
"""Options whose value here lets a run find another, which its configuration then has and a resume keeps."""

PRECISIONS = {"64": "64-true", "32": "32-true", "16": "16-mixed", "bf16": "bf16-mixed"}
"""Short words for a precision, which Lightning takes as well."""

NEWEST = "; the newest whole one there is"
"""How an error about a damaged checkpoint goes on."""

RESUMED_CALLBACKS = (
    "unfreeze",
    "ema",
    "early_stopping",
    "checkpoint",
    "tensorboard",
    "predict",
    "evaluation",
    "report",
)
"""Option groups that a resume takes up."""

GROUPED = (*RESUMED_CALLBACKS, "trainer", "model", "data")
"""Options that are groups."""


def load_checkpoint(path: str, names: Sequence[str] = READ) -> dict[str, Any]:
    """Load what a local checkpoint says of its run, or other ``names``, without running code from it.

    Its file stays in use as long as tensors of it are.

    Raises:
        DataError: The file is missing or damaged, or would run code.
    """
    with whole_one_named(path):
        checkpoint: dict[str, Any] = load_safely(path, "`ckpt_path`", ("hyper_parameters", *names))
    with of_checkpoint(path):
        hparams = checkpoint.get("hyper_parameters")
        if not isinstance(hparams, dict) or not {"class_names", "seed"} <= hparams.keys():
            raise DataError("not a checkpoint of an emotion_lightning run")
        check_types(checkpoint)
    return checkpoint


@contextmanager
def of_checkpoint(path: str | os.PathLike[str]) -> Iterator[None]:
    """Say in one line what cannot be made of what a checkpoint holds.

    Raises:
        DataError: Something in it is absent, or of another kind than a run writes.
    """
    try:
        yield
    except DataError as error:
        raise DataError(f"`ckpt_path` {path}: {error}") from error
    except UsageError:  # a ValueError too
        raise
    except (AttributeError, LookupError, TypeError, ValueError, RuntimeError, OverflowError) as error:
        said = f"{type(error).__name__}: {error}".splitlines()[0]
        raise DataError(
            f"`ckpt_path` {path}: damaged, or not a checkpoint of an emotion_lightning run ({said:.200})"
        ) from error


@contextmanager
def whole_one_named(path: str | os.PathLike[str]) -> Iterator[None]:
    """Add to an error about a damaged checkpoint which one of those beside it is the newest that is whole."""
    try:
        yield
    except DataError as error:
        if Path(path).is_file() and (other := _newest_whole(Path(path))):
            raise DataError(f"{error}{NEWEST} `ckpt_path={from_here(other)}`") from error
        raise


def _newest_whole(damaged: Path) -> Path | None:
    """Find the newest checkpoint beside a ``damaged`` one that is whole, and from which a run can go on."""
    others = [path for path in damaged.parent.glob("*.ckpt") if path != damaged]
    for path in sorted(others, key=lambda each: each.stat().st_mtime, reverse=True):
        with suppress(DataError, OSError, AttributeError):
            with checked_file(path, ""):
                saved = load_safely(path, "", ("callbacks",))
            if not saved.get("callbacks", {}).get("Checkpoint", {}).get("within_epoch"):
                return path
    return None


def run_options(checkpoint: Mapping[str, Any]) -> Config:
    """All options of the run that wrote ``checkpoint``, as they were given; none of a run made from Python.

    Raises:
        DataError: They cannot be read.
    """
    found = load_mapping(checkpoint.get(KEY, ""), "the configuration in the checkpoint")
    if not all(isinstance(found.get(name, {}), dict) for name in GROUPED):
        raise DataError("its options are not groups of names and values, as those of a run are")
    return renamed(found)


def checkpoint_config(
    checkpoint: Mapping[str, Any], subcommand: str, path: str | Path = "", given: Collection[str] = ()
) -> Config:
    """Options of the run that wrote ``checkpoint``, as far as ``subcommand`` goes on with them.

    Args:
        checkpoint: What :func:`load_checkpoint` gave.
        subcommand: fit, validate or test.
        path: The checkpoint's file: what its options write must be in the folder of its run.
        given: Options of the trainer that the user has given, which go before those of the run.

    Raises:
        DataError: An option is not plain, would run code, or would write outside the run; nothing was imported.
    """
    hparams = {"model": checkpoint["hyper_parameters"], "data": checkpoint.get("datamodule_hyper_parameters", {})}
    saved = run_options(checkpoint)
    for name in RESUMED_CALLBACKS:
        check_plain(name, saved.get(name, {}))
    config = {group: {name: value for name, value in found.items() if f"{group}.{name}" in OPTIONS}
              for group, found in renamed(hparams).items()}  # fmt: skip
    for name, group in config.items():
        check_plain(name, group)
    config["model"] = BEFORE_A_CHOICE | config["model"]
    data, trainer = config.setdefault("data", {}), dict(saved.get("trainer", {}))
    data["class_names"] = checkpoint["hyper_parameters"]["class_names"]
    config["seed_everything"] = seed = checkpoint["hyper_parameters"]["seed"]
    data.setdefault("split_seed", seed)  # as it was before splits had a seed of their own
    state = checkpoint.get("EmotionDataModule", {})
    # as absolute paths, so that any folder will do
    for name, key in (("root", "root"), ("splits_file", "splits"), ("corrections", "corrections")):
        data[name] = state.get(key, data.get(name))
    if subcommand == "fit":
        trainer.pop("default_root_dir", None)  # the run goes on in the folder of its checkpoint
        trainer = trusted(trainer, run_of(path), given)
        callbacks = {name: saved[name] for name in RESUMED_CALLBACKS if name in saved}
        if "unfreeze" in callbacks:
            callbacks["unfreeze"] = _unfreezing(callbacks["unfreeze"])
        return config | {"trainer": trainer} | callbacks
    check_plain("trainer.precision", trainer.get("precision"))
    measuring = {name: saved[name] for name in ("evaluation", "report") if name in saved}
    return config | {"trainer": {k: v for k, v in trainer.items() if k == "precision"}} | measuring


def _unfreezing(options: Config) -> Config:
    """Give the epochs of a schedule as numbers, which jsonargparse writes as text."""
    try:
        return options | {"schedule": {int(epoch): stage for epoch, stage in (options.get("schedule") or {}).items()}}
    except (AttributeError, ValueError) as error:
        raise DataError("`unfreeze.schedule` is not of epochs and stages") from error


def how_to_measure(run: Path, command: str) -> str:
    """Say how ``command``, test or validate, measures a checkpoint of the run in the folder ``run``, the best first."""
    best, problems = run / CHECKPOINTS / "best.ckpt", list[str]()
    if not best.parent.is_dir():
        return "give the folder of a run, such as lightning_logs/version_0, with its checkpoints"
    for path in dict.fromkeys((best, best.with_name("last.ckpt"), *sorted(best.parent.glob("*.ckpt"), reverse=True))):
        try:
            checkpoint = load_checkpoint(str(path))
        except DataError as error:
            problems += [str(error).removeprefix("`ckpt_path` ").partition(NEWEST)[0]] * (path == best)
            continue
        root = checkpoint.get("EmotionDataModule", {}).get("root")
        moved = "" if root is None or Path(root).exists() else f" --data.root FOLDER, as its data is not in {root},"
        return "; ".join([*problems, f"{PROGRAM} {command} --ckpt_path {pasted(path)}{moved} does"])
    again = f"{PROGRAM} {command} --ckpt_path {pasted(best)}"
    return f"{'; '.join(problems)}; put one there that can be loaded, and {again} does"


def splits_of_old_run(checkpoint: Mapping[str, Any], path: str) -> str | None:
    """Return the splits.csv beside a checkpoint of version 0.1, which cut splits otherwise; None where none is needed.

    Args:
        checkpoint: What was loaded from ``path``.
        path: A checkpoint in the folder of its run.
    """
    state, file = checkpoint.get("EmotionDataModule", {}), Path(path).resolve().parent.parent / "splits.csv"
    return str(file) if "cut" not in state and state.get("splits") is None and file.is_file() else None


def keep_found(config: MutableMapping[str, Any], saved: Mapping[str, Any]) -> Iterator[str]:
    """Put what a run has found in place of what let it; yield a line for each."""
    found = dict(flatten(saved))
    ran = found.get("trainer.precision")  # which a run made from Python does not say
    if ran is not None and PRECISIONS.get(str(config.get("trainer.precision"))) == ran:
        config["trainer.precision"] = ran
    for name, asked in FOUND.items():
        if config.get(name) == asked and found.get(name) not in (None, asked):
            config[name] = found[name]
            yield f"`{name}={asked}` is {found[name]} in this run, as it began"


def refuse_contradictions(saved: Mapping[str, Any], config: Mapping[str, Any], subcommand: str) -> None:
    """Refuse a ``config`` in which something differs from the ``saved`` one that would make it another run.

    Raises:
        UsageError: The first such option, with both values.
    """
    now = dict(flatten(config))
    for name, before in flatten(saved):
        if _is_fixed(name, subcommand) and now.get(name) != before:
            raise UsageError(
                f"`{name}` {now.get(name)} contradicts the checkpoint, whose run has {before}; leave the option out"
                + (", or start a new run" if subcommand == "fit" else "")
            )


def _is_fixed(name: str, subcommand: str) -> bool:
    """Say whether an option must be what it was: what changes learning, and in ``fit`` what chooses the best epoch."""
    if subcommand == "fit":
        return changes_learning(name) or name == "model.tta"
    return changes_learning(name) and name.startswith("model.")
