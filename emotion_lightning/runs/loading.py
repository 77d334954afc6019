"""Loading files of ``torch.save`` that may come from strangers: their content is data and never runs as code."""

import os
import zlib
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor, UntypedStorage
from torch.serialization import safe_globals

from emotion_lightning.errors import DataError, EmotionError
from emotion_lightning.runs.archive import ArchiveError, Checksums, check_archive, check_pickles

NUMBER = np.float64().__reduce__()[0]
"""What NumPy pickles a number with; older releases have it under another name."""

PLAIN: tuple[Any, ...] = (
    *(Namespace, NUMBER, (NUMBER, "numpy.core.multiarray.scalar"), np.dtype),
    *(type(np.dtype(kind)) for kind in "?ilqefd"),
)
"""What training scripts save beside weights, their arguments and NumPy's numbers, and that runs nothing."""


DAMAGED = "damaged, or no file of torch.save"


def load_safely(path: str | Path, option: str, names: Sequence[str] | None = None) -> Any:
    """Load a local file that ``torch.save`` wrote, without running code from it, and compare it with its checksums.

    Args:
        path: The file.
        option: Option that named it, for the error message.
        names: Entries that are wanted of a checkpoint; by default all. The tensors of the others stay on disk, neither
            read nor checked, and the file stays in use as long as a tensor of it is.

    Raises:
        DataError: The file is missing or damaged, or would run code.
    """
    with checked_file(path, option, values=names is None) as (file, checksums):
        if names is None:
            return torch.load(file, map_location="cpu", weights_only=True, mmap=False)
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        if not os.path.samestat(os.fstat(file.fileno()), os.stat(path)):  # a run that goes on has replaced it meanwhile
            return load_safely(path, option, names)
        if not isinstance(found, dict):
            raise DataError(f"{option} {path}: not a checkpoint of an emotion_lightning run")
        wanted = {name: found[name] for name in names if name in found}
        _check_tensors(wanted, checksums)
        return wanted


@contextmanager
def checked_file(path: str | Path, option: str, values: bool = True) -> Iterator[tuple[BinaryIO, Checksums]]:
    """Open a local file of ``torch.save`` whose content is whole, and say in one line what fails as it is loaded.

    Gives the file and the checksums of its records, none in a file of before torch 1.6.

    Args:
        path: The file.
        option: Option that named it, for the error message.
        values: False leaves the numbers of tensors unread.

    Raises:
        DataError: The file is missing or damaged, or would run code.
    """
    if "://" in str(path):
        raise DataError(f"{option} {path}: addresses are not fetched; download the file and give its path")
    if not Path(path).is_file():
        raise DataError(f"{option} {path}: no such file")
    try:
        with Path(path).open("rb") as file, safe_globals(list(PLAIN)):
            if reason := _no_torch_file(file):
                raise DataError(f"{option} {path}: {reason}")
            checksums = _check_content(file, values)
            file.seek(0)
            yield file, checksums
    except EmotionError:
        raise
    except PermissionError as error:
        raise DataError(f"{option} {path}: cannot be read: {error.strerror}") from error
    except UnpicklingError as error:
        if any(sign in str(error) for sign in ("GLOBAL", "Unsupported", "Can only")):
            raise DataError(
                f"{option} {path}: holds more than plain data and may run code; it is not loaded. Save the state_dict "
                "of what it holds, where you trust it"
            ) from error
        raise DataError(f"{option} {path}: {DAMAGED}") from error
    except ArchiveError as error:
        raise DataError(f"{option} {path}: {DAMAGED if str(error) == 'damaged' else error}") from error
    except Exception as error:  # whatever torch raises of damaged bytes
        raise DataError(f"{option} {path}: {DAMAGED}") from error


def _check_content(file: BinaryIO, values: bool) -> Checksums:
    if file.read(2) == b"PK":
        return check_archive(file, values)
    file.seek(0)
    check_pickles(file)
    return set()


def _check_tensors(loaded: Any, checksums: Checksums) -> None:
    """Compare what tensors hold with the checksums of their file.

    Raises:
        ArchiveError: It is not what was written.
    """
    checked = set[int]()
    for storage in _storages(loaded):
        if storage.nbytes() and storage.data_ptr() not in checked:
            checked.add(storage.data_ptr())
            content: Any = torch.empty(0, dtype=torch.uint8).set_(storage).numpy()
            if (zlib.crc32(content), storage.nbytes()) not in checksums:
                raise ArchiveError("damaged")


def _storages(value: Any) -> Iterator[UntypedStorage]:
    if isinstance(value, Tensor):
        yield value.untyped_storage()
    elif isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _storages(item)


def _no_torch_file(file: BinaryIO) -> str | None:
    """Say what else than a file of ``torch.save`` it is, as far as its first bytes tell."""
    start = file.read(64).lstrip().lower()
    file.seek(0)
    if not start:
        return "the file is empty: copy or download it anew"
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "is a page for a browser, as a download that was refused leaves: download the file itself"
    if start.startswith(b"version https://git-lfs"):
        return "is a pointer of Git LFS: fetch the file by git lfs pull"
    return None if start.startswith((b"pk", b"\x80")) else "no file of torch.save"
