"""The precision that is right and fast on the machine at hand."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import nn

MARGIN = 1.2
"""How many times as fast as fp32 bf16 must be to be chosen, so that the choice is the same at every start."""

ROUNDS = 3
DEADLINE = 0.2
"""Most rounds of the measurement, and seconds after which no further one begins."""

IMAGES = (4, 3, 64, 64)
"""Shape of what is measured: more images show the gain better, and take longer."""

VARIABLE = "EMOTION_LIGHTNING_PRECISION"
"""Environment variable by which the processes of a run that others are started from tell them what they chose."""


def resolve_precision(
    precision: str | int | None, accelerator: object, model: nn.Module, earlier: str | None = None
) -> str | int | None:
    """Return what stands for ``16-mixed`` where there is no GPU; any other precision stays as it is.

    On a CPU, fp16 has no fast arithmetic. bf16 has on some, for some models: it is taken where a training step of this
    model is measured to be clearly faster.

    Args:
        precision: As the trainer takes it.
        accelerator: As the trainer takes it.
        model: What is to be trained, images ``(B, 3, H, W)`` to logits; it is left as it is.
        earlier: Precision that the run had before it was resumed, and goes on with if this CPU can.
    """
    if precision != "16-mixed" or not _on_cpu(accelerator):
        return precision
    resolved, reason = _on_this_cpu(model, earlier)
    os.environ[VARIABLE] = resolved
    rank_zero_info(f"Precision: {resolved} in place of {precision}, {reason}")
    return resolved


def allow_tf32(accelerator: object) -> None:
    """On a GPU, let products of float32 matrices be computed in TF32, as those of convolutions are."""
    if accelerator in ("gpu", "cuda", "auto") and torch.cuda.is_available():
        torch.set_float32_matmul_precision("high")


def step_seconds(model: nn.Module) -> tuple[float, float]:
    """Measure the least seconds of a training step of a copy of ``model``, in fp32 and in bf16, on a few small images.

    It is the time that one thread computes, in which other load on the machine hardly shows.
    """
    copy = deepcopy(model).train().requires_grad_(True)
    images = torch.rand(IMAGES, generator=torch.Generator().manual_seed(0))
    rounds: list[tuple[float, float]] = []
    with torch.random.fork_rng(devices=[]), _one_thread():  # dropout draws
        _step(copy, images, False), _step(copy, images, True)  # the first are slow
        start = time.thread_time()
        while len(rounds) < ROUNDS and (not rounds or time.thread_time() - start < DEADLINE):
            rounds.append((_step(copy, images, False), _step(copy, images, True)))
    fp32, bf16 = (min(seconds) for seconds in zip(*rounds, strict=True))
    return fp32, bf16


def _step(model: nn.Module, images: torch.Tensor, bf16: bool) -> float:
    start = time.thread_time()
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16, cache_enabled=False):
        logits = model(images)
    logits.float().sum().backward()
    model.zero_grad()
    return time.thread_time() - start


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        yield
    finally:
        torch.set_num_threads(threads)


def _on_cpu(accelerator: object) -> bool:
    return accelerator == "cpu" or (accelerator == "auto" and not _has_accelerator())


def _on_this_cpu(model: nn.Module, earlier: str | None) -> tuple[str, str]:
    """Choose a precision, and say why."""
    able = _has_bf16_instructions()
    if earlier == "32-true" or (earlier == "bf16-mixed" and able):
        return earlier, "as the checkpoint's run had it"
    if "LOCAL_RANK" in os.environ and os.environ.get(VARIABLE):
        return os.environ[VARIABLE], "as in the first process"
    if not able:
        return "32-true", "as this CPU has no instructions for bf16"
    try:
        fp32, bf16 = step_seconds(model)
    except (AssertionError, RuntimeError):  # of a network that is built for one size
        return "32-true", f"as this model takes no images of {IMAGES[-1]} px to measure it with"
    chosen = "bf16-mixed" if fp32 >= MARGIN * bf16 else "32-true"
    return chosen, f"as a small step of this model takes {1e3 * fp32:.0f} ms in fp32 and {1e3 * bf16:.0f} ms in bf16"


def _has_accelerator() -> bool:
    return torch.accelerator.is_available()


def _has_bf16_instructions() -> bool:
    # unknown to older releases of torch: then fp32
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16"))
