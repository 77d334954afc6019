"""The folder of a run."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

RUNS = "lightning_logs"
"""Folder of the runs that the command line makes."""

CHECKPOINTS = "checkpoints"
"""Folder of a run's checkpoints, in that of the run."""


def log_dir(trainer: "Trainer") -> Path:
    """Folder that ``trainer`` logs into, or its root where it has no logger."""
    return Path(trainer.log_dir or trainer.default_root_dir)


def run_dir(trainer: "Trainer") -> Path:
    """Folder of the run whose checkpoint was loaded; without one, that of ``log_dir``.

    Another run's checkpoint may lie where nothing can be written: a ``default_root_dir`` that was chosen goes before.
    """
    if trainer.ckpt_path is None:
        return log_dir(trainer)
    root, folder = Path(trainer.default_root_dir).resolve(), Path(trainer.ckpt_path).resolve().parent
    if root != Path.cwd() and trainer.global_step == 0 and not folder.is_relative_to(root):
        return root
    return run_of(trainer.ckpt_path)


def run_of(checkpoint: str | Path) -> Path:
    """Folder of the run that a checkpoint lies in."""
    folder = Path(checkpoint).resolve().parent
    return folder.parent if folder.name == CHECKPOINTS else folder


def from_here(path: str | Path) -> str:
    """Write ``path`` relative to this folder where it lies in it, else absolute."""
    absolute = Path(path).resolve()
    here = Path.cwd()
    return str(absolute.relative_to(here) if absolute.is_relative_to(here) else absolute)


def pasted(path: str | Path) -> str:
    """Write ``path`` as a command may have it: :func:`from_here`, and quoted if need be."""
    return shlex.quote(from_here(path))


def shared_name(runs: Sequence[Path]) -> str:
    """Name what several ``runs`` share after the first and the last: ``version_0_to_version_2``."""
    return f"{runs[0].name}_to_{runs[-1].name}"
