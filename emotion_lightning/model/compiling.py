"""torch.compile for a module in place: what it is called and what a checkpoint keeps of it stay as they are."""

import torch
from torch import Tensor, nn

from emotion_lightning.errors import UsageError


def compile_in_place(module: nn.Module, device: torch.device) -> None:
    """Let torch.compile (Ansel et al., 2024) write kernels for ``module``, when it is first called in each way.

    Args:
        module: What to compile.
        device: Where it will run.

    Raises:
        UsageError: This machine has not what torch needs to compile for ``device``.
    """
    try:
        # nothing from a cache, which would hide that the compiler is gone
        torch.compile(_probe, options={"force_disable_caches": True})(torch.ones(8, device=device))
    except Exception as error:  # of any kind: torch has no common one for a compiler that is missing or fails
        needs = "a C++ compiler (CXX names it)" if device.type == "cpu" else "Triton and a C compiler (CC names it)"
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UsageError(f"`compile=true` needs {needs}, and torch failed with: {reason}") from error
    module.compile()


def forget_compiled() -> None:
    """Drop all that was compiled, and with it the count of kinds, which torch bounds."""
    torch.compiler.reset()


def _probe(values: Tensor) -> Tensor:
    return values.sin() + 1
