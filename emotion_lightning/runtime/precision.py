"""The precision that is right and fast on the machine at hand, by a rule that measures nothing."""

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import nn

BF16_INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")
"""Capabilities of a CPU, as ``torch.cpu`` names them, any of which computes in bf16."""


def resolve_precision(precision: str | int | None, accelerator: object, model: nn.Module) -> str | int | None:
    """Return what replaces ``16-mixed`` on a CPU; any other precision stays as it is.

    On a CPU, fp16 has no fast arithmetic. bf16 has on some: a ResNet50 trains 1.1 to 1.5 times as fast in it, while
    the depthwise convolutions of an EfficientNet-Lite train 2.2 times as fast in fp32. So bf16 is taken where the CPU
    has instructions for it and the model has no depthwise convolution. The same model and machine always get the same.

    Args:
        precision: As the trainer takes it.
        accelerator: As the trainer takes it.
        model: What is to be trained.
    """
    if precision != "16-mixed" or not _on_cpu(accelerator):
        return precision
    if not _has_bf16_instructions():
        resolved, reason = "32-true", "as this CPU has no instructions for bf16"
    elif any(map(_is_depthwise, model.modules())):
        resolved, reason = "32-true", "as depthwise convolutions train faster in it on a CPU"
    else:
        resolved, reason = "bf16-mixed", "as this CPU has instructions for bf16"
    rank_zero_info(f"Precision: {resolved} in place of {precision}, {reason}")
    return resolved


def allow_tf32(accelerator: object) -> None:
    """On a GPU, let products of float32 matrices be computed in TF32, as those of convolutions are."""
    if accelerator in ("gpu", "cuda", "auto") and torch.cuda.is_available():
        torch.set_float32_matmul_precision("high")


def _on_cpu(accelerator: object) -> bool:
    return accelerator == "cpu" or (accelerator == "auto" and not torch.accelerator.is_available())


def _has_bf16_instructions() -> bool:
    # older releases of torch do not tell: then fp32
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(capabilities.get(name) for name in BF16_INSTRUCTIONS)


def _is_depthwise(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1
