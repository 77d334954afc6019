"""Which options of a checkpoint a resume takes up: plain values, and classes of Lightning's that write into the run."""

import re
from collections.abc import Collection, Mapping
from pathlib import Path, PurePath
from typing import Any

from emotion_lightning.errors import DataError

CLASSES: Mapping[str, tuple[str, ...]] = {
    "logger": ("CSVLogger", "TensorBoardLogger"),
    "callbacks": (
        *("BatchSizeFinder", "DeviceStatsMonitor", "EarlyStopping", "GradientAccumulationScheduler"),
        *("LearningRateFinder", "LearningRateMonitor", "ModelCheckpoint", "ModelSummary", "OnExceptionCheckpoint"),
        *("RichModelSummary", "RichProgressBar", "SpikeDetection", "Timer", "TQDMProgressBar"),
    ),
    "profiler": ("AdvancedProfiler", "PassThroughProfiler", "SimpleProfiler"),
}
"""Lightning's classes that a checkpoint may name, by the trainer's option: none takes a function or another class."""

MODULES = {"logger": "loggers", "callbacks": "callbacks", "profiler": "profilers"}
"""Where in ``lightning.pytorch`` they are."""

NAMED = ("accelerator", "plugins", "precision", "profiler", "strategy")
"""Options of the trainer whose text may be the name of a class, which would be imported."""

PATHS = ("dirpath", "exclude_batches_path")
"""Arguments of such classes for where they write."""

DEEPEST = 8
"""Mappings and lists within one another that an option may be."""


def trusted(trainer: Mapping[str, Any], run: Path, given: Collection[str] = ()) -> dict[str, Any]:
    """Return the ``trainer`` options of a checkpoint that can be taken up; nothing is imported to tell.

    Args:
        trainer: Options by name.
        run: Folder of the checkpoint's run.
        given: Names of options that the user has given, which need not be taken up.

    Raises:
        DataError: An option that was not given would run code, or write outside the run.
    """
    reasons = {name: _distrust(name, value, run.resolve()) for name, value in trainer.items()}
    for name, reason in reasons.items():
        if reason and name not in given:
            raise DataError(f"`trainer.{name}` {reason}; give the option yourself, as the run was given it")
    return {name: value for name, value in trainer.items() if not reasons[name]}


def check_plain(name: str, value: Any, depth: int = 0) -> None:
    """Refuse an option whose value is more than numbers, texts, and lists and mappings of them.

    Raises:
        DataError: It is.
    """
    if isinstance(value, dict) and "class_path" not in value and depth < DEEPEST:
        for key, item in value.items():
            check_plain(f"{name}.{key}" if isinstance(key, str) else name, item, depth + 1)
            check_plain(name, key, DEEPEST)
    elif isinstance(value, list | tuple) and depth < DEEPEST:
        for item in value:
            check_plain(name, item, depth + 1)
    elif type(value) not in (type(None), bool, int, float, str):
        found = value.get("class_path") if isinstance(value, dict) else None
        raise DataError(f"`{name}` is {f'of the class {found!s:.80}' if found else 'no plain value'}")


def _distrust(name: str, value: Any, run: Path) -> str | None:
    """Say why an option of the trainer is not taken up; None where it is."""
    if name in CLASSES and isinstance(value, list):
        return next((reason for item in value if (reason := _distrust(name, item, run))), None)
    if name in CLASSES and isinstance(value, dict):
        return _distrust_class(name, value, run)
    if name in ("logger", "callbacks") and isinstance(value, str):
        return _imported(value)
    for text in value if isinstance(value, list) else [value]:
        if name in NAMED and isinstance(text, str) and not re.fullmatch(r"[\w-]*", text):
            return _imported(text)
    try:
        check_plain(name, value)
    except DataError:
        return _imported(value.get("class_path")) if isinstance(value, dict) else "is no plain value"
    return None


def _distrust_class(name: str, value: Mapping[str, Any], run: Path) -> str | None:
    path, arguments = value.get("class_path"), value.get("init_args") or {}
    own = rf"lightning\.pytorch\.{MODULES[name]}\.([a-z_]+\.)*({'|'.join(CLASSES[name])})"
    if not isinstance(path, str) or not re.fullmatch(own, path) or value.keys() - {"class_path", "init_args"}:
        return _imported(path)
    try:
        check_plain(name, arguments)
    except DataError:
        return _imported(path)
    if not isinstance(arguments, dict):
        return _imported(arguments)
    outside = [text for key, text in arguments.items() if isinstance(text, str) and _leaves(key, text, run)]
    if name == "logger" and not _logs_beside(arguments, run):
        outside.append(str(arguments.get("save_dir")))
    return f"writes to {outside[0]}, which is outside the run {run}" if outside else None


def _imported(path: Any) -> str:
    return f"names {path!s:.80}, and what a checkpoint names is not imported"


def _leaves(key: str, text: str, run: Path) -> bool:
    """Whether an argument of a class is a path out of the ``run``."""
    if key in PATHS:
        return not Path(text).resolve().is_relative_to(run)
    return key != "save_dir" and (PurePath(text).is_absolute() or ".." in PurePath(text).parts or "://" in text)


def _logs_beside(arguments: Mapping[str, Any], run: Path) -> bool:
    """Whether a logger writes into the ``run``, or into a folder of its own beside it."""
    root = Path(str(arguments.get("save_dir")), str(arguments.get("name") or "")).resolve()
    version = str(arguments.get("version") or "")
    return (root == run.parent or root.is_relative_to(run)) and len(PurePath(version).parts) < 2
