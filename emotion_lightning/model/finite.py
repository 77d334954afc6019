"""Whether weights are finite: those of a model that has diverged are not, and nothing goes on from them."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from emotion_lightning.errors import DataError


@torch.no_grad()
def all_finite(values: Iterable[Any]) -> Tensor:
    """Say of all tensors of floats among ``values`` whether each number is finite: bool ``()``, on their device."""
    floats = [value for value in values if isinstance(value, Tensor) and value.is_floating_point()]
    # a sum is finite only if all its terms are, and is computed several times as fast as their largest
    sums = [value.sum(dtype=torch.promote_types(value.dtype, torch.float32)) for value in floats]
    return torch.stack([each.isfinite() for each in sums] or [torch.tensor(True)]).all()


def refuse_nonfinite(state: Mapping[str, Any]) -> None:
    """Refuse weights by name among which one is nan or infinite.

    Raises:
        DataError: One is; the message names its tensor.
    """
    if not all_finite(state.values()):
        name = next(name for name, value in state.items() if not all_finite([value]))
        raise DataError(f"its weights are not finite ({name}): training had diverged; take a checkpoint from before")
