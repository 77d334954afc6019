"""Checkpoints on disk, written so that a kill or a full disk leaves the old one."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO

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
        with atomic_write(Path(path)) as temporary, temporary.open("wb") as file:
            try:
                torch.save(checkpoint, file)
            except RuntimeError as error:  # torch's word for a full disk
                raise OSError(str(error)) from error


def update_checkpoint(path: str | Path, key: str, values: Mapping[str, Any]) -> None:
    """Put ``values`` into the mapping that a checkpoint has under ``key``; everything else in the file stays as it is.

    Raises:
        DataError: The file cannot be read or written.
    """
    checkpoint = load_safely(path, "`ckpt_path`")
    checkpoint[key] = {**checkpoint.get(key, {}), **values}
    AtomicCheckpointIO().save_checkpoint(checkpoint, Path(path).resolve())  # a link stays one
