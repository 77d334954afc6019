"""Checkpoints of the newest run in a folder, for those who do not look its number up, and for schedulers."""

import re
from pathlib import Path

from emotion_lightning.errors import UsageError
from emotion_lightning.runs.folder import CHECKPOINTS, RUNS, from_here

NAMES = ("last", "best")
"""What stands for the checkpoint of that name."""


def newest(name: str, root: str | Path | None) -> Path | None:
    """The checkpoint called ``name`` of the newest run below ``root`` that has one.

    The newest has the highest number, in the order in which runs began; runs with other names come before those.
    """
    found = (Path(root or ".") / RUNS).glob(f"*/{CHECKPOINTS}/{name}.ckpt")
    return max(found, key=_number, default=None)


def checkpoint_named(path: str, root: str | Path | None = None) -> str:
    """Return ``path``, or the file that last or best stands for.

    Raises:
        UsageError: There is none.
    """
    if path not in NAMES:
        return path
    file = newest(path, root)
    if file is None:
        raise UsageError(
            f"`ckpt_path={path}` is that of the newest run, and no run in {from_here(Path(root or '.') / RUNS)} has a "
            f"{path}.ckpt: give its file, or the runs' `default_root_dir`"
        )
    return str(file)


def _number(checkpoint: Path) -> tuple[int, float]:
    numbered = re.fullmatch(r"version_(\d+)", checkpoint.parents[1].name)
    return int(numbered[1]) if numbered else -1, checkpoint.stat().st_mtime
