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
    if not Path(path).is_file():
        raise DataError(f"{option} {path}: no such file")
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
