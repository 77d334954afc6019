"""Checkpoints on disk, written so that a kill or a full disk leaves the old one."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO

from emotion_lightning.errors import DataError
from emotion_lightning.runs.files import atomic_write
from emotion_lightning.runs.loading import load_safely


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a temporary file in the same folder, then puts it in place: a kill or a full disk leaves the old one."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any | None = None
    ) -> None:
        """Write ``checkpoint`` to ``path``, safe on disk before it takes the old one's place.

        Raises:
            DataError: The file cannot be written.
        """
        with atomic_write(Path(path)) as temporary:
            _save(checkpoint, temporary)


def identity(path: str | Path) -> tuple[int, int, int]:
    """What a file is known by until something is written in its place."""
    facts = os.stat(path)
    return facts.st_ino, facts.st_mtime_ns, facts.st_size


def update_checkpoint(path: str | Path, key: str, values: Mapping[str, Any], known: tuple[int, int, int]) -> None:
    """Put ``values`` into the mapping that a checkpoint has under ``key``; everything else in the file stays as it is.

    Args:
        path: The checkpoint.
        key: Name of the mapping.
        values: What to put in.
        known: The :func:`identity` of the file that they belong to.

    Raises:
        DataError: The file cannot be read or written, or is another by now.
    """
    checkpoint, target = load_safely(path, "`ckpt_path`"), Path(path).resolve()  # a link stays one
    checkpoint[key] = {**checkpoint.get(key, {}), **values}
    with atomic_write(target) as temporary:
        _save(checkpoint, temporary)
        if identity(target) != known:
            raise DataError(
                f"{path} was replaced while it was measured, as a run that goes on does: what was found is not of the "
                "new one, and nothing was written; measure it again"
            )


def _save(checkpoint: dict[str, Any], temporary: Path) -> None:
    with temporary.open("wb") as stream:
        try:
            torch.save(checkpoint, stream)
        except RuntimeError as error:  # torch's word for a full disk, which knew the system's
            said = error.__context__
            raise (said if isinstance(said, OSError) else OSError(str(error))) from error
