"""The precision that is right and fast on the machine at hand."""

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import nn


def resolve_precision(precision: str | int | None, accelerator: object, model: nn.Module) -> str | int | None:
    """Return what stands for ``16-mixed`` where there is no GPU; any other precision stays as it is.

    On a CPU, fp16 has no fast arithmetic. bf16 has, on processors with instructions for it, where it was measured
    three times as fast as fp32 for a ResNet50 but slower for depthwise convolutions; elsewhere fp32 is best. The rule
    depends on nothing that varies between two runs, so that a resumed run computes as before.
    """
    on_cpu = accelerator == "cpu" or (accelerator == "auto" and not _has_accelerator())
    if precision != "16-mixed" or not on_cpu:
        return precision
    fast = _has_bf16_instructions() and not _has_depthwise_convolutions(model)
    resolved = "bf16-mixed" if fast else "32-true"
    rank_zero_info(f"Precision: {resolved} in place of {precision}, on this CPU with this model")
    return resolved


def _has_accelerator() -> bool:
    return torch.accelerator.is_available()


def _has_bf16_instructions() -> bool:
    # unknown to older releases of torch: then fp32
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "amx_tile"))


def _has_depthwise_convolutions(model: nn.Module) -> bool:
    return any(isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1 for module in model.modules())
