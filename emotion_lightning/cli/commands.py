"""The commands and what they do, so that the first help needs no library."""

import platform
from importlib.metadata import PackageNotFoundError, version

from emotion_lightning.options import PROGRAM

COMMANDS = {
    "fit": "Train a classifier, or go on with a run by --ckpt_path.",
    "validate": "Measure a checkpoint on the validation split and report.",
    "test": "Measure a checkpoint on the test split, write metrics.json and report.",
    "predict": "Write what a checkpoint sees in pictures, as CSV, JSON Lines or Parquet.",
    "export": "Write a checkpoint as ONNX and other files that need nothing of this program, and verify them.",
    "demo": "Try a checkpoint on a local page, with pictures or the webcam.",
    "runs": "List runs: their data, best score, what differs and how far each is.",
    "report": "Write the report of a run anew, or compare several runs on one page.",
    "audit": "Look for unreadable, copied, contradictory and leaking images in a data set.",
    "review": "Look at doubtful labels, found by the folds of a fit, and save corrections of them.",
    "prepare": "Cut the faces out of a folder of photographs, to train on or to predict.",
}


PACKAGES = ("torch", "lightning", "timm")
"""Packages whose releases matter to a report of a fault."""


def asks_for_version(args: list[str]) -> bool:
    """Whether the version was asked for."""
    return args[:1] in (["-V"], ["--version"], ["version"])


def version_line() -> str:
    """Write the release of the package, and of those that it stands on."""
    found = {name: _release(name) for name in ("emotion_lightning", *PACKAGES)}
    own, *others = (f"{name} {release}" for name, release in found.items())
    return f"{own} ({', '.join(others)}, Python {platform.python_version()})"


def _release(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "(not installed)"


def asks_for_overview(args: list[str]) -> bool:
    """Whether nothing was asked for, or help before any command."""
    return not args or args[0] in ("-h", "--help", "help")


def overview() -> str:
    """List the commands."""
    commands = "".join(f"\n  {name:<10}{text}" for name, text in COMMANDS.items())
    usage = f"usage: {PROGRAM} COMMAND [--help] [options], or --version"
    return f"Train and judge a facial-emotion classifier.\n\n{usage}\n{commands}"
