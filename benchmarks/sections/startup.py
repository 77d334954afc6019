"""Processes from start to end: importing the libraries, the help, and a ``fit`` of one step."""

import subprocess
import sys
from functools import partial
from pathlib import Path

from benchmarks.clock import alternate, now
from benchmarks.figure import Figure
from benchmarks.setting import Setting

LIBRARIES = ("torch", "torchvision", "timm", "lightning.pytorch", "torchmetrics", "jsonargparse", "tensorboard")
SIZE = 64
"""Side of the images of the one step, which is not what is to be measured."""


def measure(setting: Setting) -> list[Figure]:
    """Measure all commands in alternation; the first run of each, which fills caches, is left out."""
    calls = {name: partial(_seconds, command) for name, command in commands(setting).items()}
    for call in calls.values():
        call()
    seconds = alternate(calls, setting.rounds, "startup")
    return [Figure("startup", "process", name, values) for name, values in seconds.items()]


def commands(setting: Setting) -> dict[str, list[str]]:
    """Command of each process."""
    program = [sys.executable, "-m", "emotion_lightning"]
    device = "gpu" if setting.on_gpu else "cpu"
    one_step = [
        *("--data.root", str(setting.root), "--data.image_size", str(min(SIZE, setting.image_size))),
        *("--data.batch_size", str(setting.batch_size), "--data.num_workers", str(setting.workers)),
        *("--model.backbone", setting.backbone, "--model.pretrained", "false"),
        *("--trainer.accelerator", device, "--trainer.devices", "1", "--trainer.fast_dev_run", "true"),
    ]
    return {
        "importing the libraries": [sys.executable, "-c", f"import {', '.join(LIBRARIES)}"],
        "--help": [*program, "--help"],
        "fit --help": [*program, "fit", "--help"],
        "fit of one step": [*program, "fit", *one_step],
    }


def _seconds(command: list[str]) -> float:
    start = now()
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    except subprocess.CalledProcessError as error:
        raise RuntimeError(f"{' '.join(command)} failed:\n{error.stderr}") from error
    return now() - start
