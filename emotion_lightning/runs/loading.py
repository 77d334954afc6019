"""Loading files of ``torch.save`` that may come from strangers: their content is data and never runs as code."""

from argparse import Namespace
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from torch.serialization import safe_globals

from emotion_lightning.errors import DataError

NUMBER = np.float64().__reduce__()[0]
"""What NumPy pickles a number with; older releases have it under another name."""

PLAIN: tuple[Any, ...] = (
    *(Namespace, NUMBER, (NUMBER, "numpy.core.multiarray.scalar"), np.dtype),
    *(type(np.dtype(kind)) for kind in "?ilqefd"),
)
"""What training scripts save beside weights, their arguments and NumPy's numbers, and that runs nothing."""


def load_safely(path: str | Path, option: str, mmap: bool = False) -> Any:
    """Load a file that ``torch.save`` wrote, without running code from it.

    Args:
        path: The file.
        option: Option that named it, for the error message.
        mmap: Leave the tensors on disk until they are used.

    Raises:
        DataError: The file is missing or damaged, or would run code.
    """
    if "://" in str(path):
        raise DataError(f"{option} {path}: addresses are not fetched; download the file and give its path")
    if not Path(path).is_file():
        raise DataError(f"{option} {path}: no such file")
    if reason := _no_torch_file(Path(path)):
        raise DataError(f"{option} {path}: {reason}")
    try:
        with safe_globals(list(PLAIN)):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except UnpicklingError as error:
        if any(sign in str(error) for sign in ("GLOBAL", "Unsupported", "Can only")):
            raise DataError(
                f"{option} {path}: holds more than plain data and may run code; it is not loaded. Save the state_dict "
                "of what it holds, where you trust it"
            ) from error
        raise DataError(f"{option} {path}: damaged, or no file of torch.save") from error
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, IndexError) as error:
        raise DataError(f"{option} {path}: damaged, or no file of torch.save") from error


def _no_torch_file(path: Path) -> str | None:
    """Say what else than a file of ``torch.save`` it is, as far as its first bytes tell."""
    with path.open("rb") as file:
        start = file.read(64).lstrip().lower()
    if not start:
        return "the file is empty: copy or download it anew"
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "is a page for a browser, as a download that was refused leaves: download the file itself"
    if start.startswith(b"version https://git-lfs"):
        return "is a pointer of Git LFS: fetch the file by git lfs pull"
    return None if start.startswith((b"pk", b"\x80")) else "no file of torch.save"
