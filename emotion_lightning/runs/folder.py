"""The folder of a run."""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from emotion_lightning.errors import UsageError

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

RUNS = "lightning_logs"
"""Folder of the runs that the command line makes."""

CHECKPOINTS = "checkpoints"
"""Folder of a run's checkpoints, in that of the run."""

OF_NEWEST = ("last", "best")
"""What stands for the checkpoint of that name of the newest run."""

NUMBERED = re.compile(r"version_(\d+)")
"""Name of a run that was given none."""

NAME = re.compile(r"[^\W_][\w.+=,@-]*")
"""Names that can be typed as they are and are folders everywhere: no separators, none that is hidden."""


def log_dir(trainer: "Trainer") -> Path:
    """Folder of the run of ``trainer``: that of a logger which has one for each run, or else the trainer's root."""
    found = (getattr(logger, "log_dir", None) for logger in trainer.loggers)
    return Path(trainer.strategy.broadcast(next(filter(None, found), trainer.default_root_dir)))


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


def new_run(runs: Path, name: str | None = None, again: bool = False) -> Path:
    """Choose the folder of a new run, which is not made yet: the next ``version_N``, or ``name``.

    Args:
        runs: Folder of all runs.
        name: Name of the run.
        again: Whether a folder of this name may be there that has no checkpoint yet.

    Raises:
        UsageError: The name cannot be that of a folder, or is that of another run.
    """
    if name is None:
        numbers = [int(found[1]) for path in runs.glob("*") if (found := NUMBERED.fullmatch(path.name))]
        return runs / f"version_{max(numbers, default=-1) + 1}"
    if not NAME.fullmatch(name) or name in OF_NEWEST or NUMBERED.fullmatch(name):
        raise UsageError(
            f"`name` {name!r} cannot name a run: give letters, digits and .+=,@_- that begin with a letter or digit; "
            "last, best and version_N have a meaning of their own"
        )
    folder = runs / name
    if folder.exists() and not (again and not any(folder.glob(f"{CHECKPOINTS}/*"))):
        raise UsageError(
            f"`name` {name}: there is a run of that name, {from_here(folder)}: choose another, go on with that one by "
            f"`ckpt_path={name}`, or delete its folder"
        )
    return folder


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
