"""Checkpoints on disk, written so that a kill or a full disk leaves the old one."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import Trainer

from emotion_lightning.errors import DataError
from emotion_lightning.runs.archive import ArchiveError, check_archive
from emotion_lightning.runs.config import of_checkpoint, whole_one_named
from emotion_lightning.runs.files import atomic_write
from emotion_lightning.runs.loading import load_safely
from emotion_lightning.runs.schema import check_types


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a temporary file in the same folder, reads it back, then puts it in place; loads local files safely.

    A kill or a full disk leaves the old file. What is loaded is data alone, whatever is asked for.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any | None = None
    ) -> None:
        """Write ``checkpoint`` to ``path``, safe on disk before it takes the old one's place.

        Raises:
            DataError: The file cannot be written, or does not come back as it was written.
        """
        with atomic_write(Path(path)) as temporary:
            _save(checkpoint, temporary)

    def load_checkpoint(
        self,
        path: str | os.PathLike[str],
        map_location: Callable[..., Any] | None = None,
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        """Load what a local file holds, onto the CPU, and never as code, whatever ``weights_only`` and torch say.

        Raises:
            DataError: The file is missing or damaged, or would run code.
        """
        with whole_one_named(path):
            checkpoint: dict[str, Any] = load_safely(os.fspath(path), "`ckpt_path`")
        with of_checkpoint(path):
            check_types(checkpoint, ("state_dict", "pytorch-lightning_version"))
        return checkpoint


def install(trainer: Trainer) -> None:
    """Let ``trainer`` save and load its checkpoints so, unless the user has chosen another way."""
    if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:
        trainer.strategy.checkpoint_io = AtomicCheckpointIO()


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
    """Write a file, and see that it can be read: the old one goes next.

    Raises:
        OSError: It cannot be written, or is not what was written.
    """
    with temporary.open("w+b") as stream:
        try:
            torch.save(checkpoint, stream)
        except RuntimeError as error:  # torch's word for a full disk, which knew the system's
            said = error.__context__
            raise (said if isinstance(said, OSError) else OSError(str(error))) from error
        stream.flush()
        os.fsync(stream.fileno())
        if hasattr(os, "posix_fadvise"):  # read what is on the disk, not what the system keeps in memory
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        stream.seek(0)
        try:
            check_archive(stream, trusted=True)
        except ArchiveError as error:
            raise OSError("what was written cannot be read back") from error
