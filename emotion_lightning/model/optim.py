"""One AdamW with a named group for every stage, and one schedule that drives all of them for the whole run."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from torch import nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, LRScheduler, OneCycleLR

LRSchedule = Literal["one_cycle", "cosine", "constant"]


def build_optimizer(
    stages: Mapping[str, Sequence[nn.Parameter]],
    lr_backbone: float,
    lr_classifier: float,
    weight_decay: float,
    eps: float,
) -> AdamW:
    """Build AdamW (Loshchilov and Hutter, 2019) over all stages from step 0, frozen ones included.

    A frozen parameter has no gradient, so AdamW neither moves nor decays it; unfreezing needs no new group.
    """
    groups: list[dict[str, Any]] = [
        {"name": stage, "params": list(parameters), "lr": lr_classifier if stage == "classifier" else lr_backbone}
        for stage, parameters in stages.items()
    ]
    devices = {parameter.device.type for group in groups for parameter in group["params"]}
    # fused is several times as fast on a CPU; on a GPU it does not wait to hear whether gradients overflowed
    fused = devices <= {"cpu", "cuda"} or None
    optimizer = AdamW(groups, weight_decay=weight_decay, eps=eps, fused=fused)
    optimizer.register_load_state_dict_pre_hook(_keep_fused)
    return optimizer


def _keep_fused(optimizer: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    """Leave it to the machine how the step is computed: a checkpoint may come from another device."""
    fused = optimizer.defaults["fused"]
    return {**state, "param_groups": [{**group, "fused": fused} for group in state["param_groups"]]}


def build_scheduler(
    optimizer: AdamW, total_steps: int, pct_start: float, lr_schedule: LRSchedule = "one_cycle"
) -> LRScheduler:
    """Build the schedule of all groups' rates, whose peaks are the ``lr`` that each group has.

    Args:
        optimizer: Its groups' learning rates are the peaks.
        total_steps: Optimizer steps of the whole run.
        pct_start: Fraction of the run that rises, in (0, 1), by OneCycle.
        lr_schedule: one_cycle rises and then anneals by cosine (Smith and Topin, 2018); cosine anneals from the first
            step on (Loshchilov and Hutter, 2017, without restarts); constant keeps the peaks.
    """
    total_steps = max(total_steps, 3)
    if lr_schedule == "cosine":
        return CosineAnnealingLR(optimizer, total_steps)
    if lr_schedule == "constant":
        return ConstantLR(optimizer, factor=1, total_iters=total_steps)
    return OneCycleLR(
        optimizer,
        max_lr=[group["lr"] for group in optimizer.param_groups],
        total_steps=total_steps,
        pct_start=max(pct_start, 2 / total_steps),  # a rise of less than one step divides by zero
        anneal_strategy="cos",
    )


def planned_steps(scheduler: LRScheduler) -> int | None:
    """Optimizer steps that ``scheduler``, or the one whose state it took up, was built for."""
    state = scheduler.state_dict()
    return next((state[name] for name in ("total_steps", "T_max", "total_iters") if name in state), None)
