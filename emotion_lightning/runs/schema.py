"""What a checkpoint holds, and of which types: told before anything is made of it."""

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from torch import Size, Tensor
from torch.optim import AdamW, Optimizer

from emotion_lightning.errors import DataError

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

Test = Callable[[Any], bool]


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_mapping(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(name, str) for name in value)


def _is_mappings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _is_history(value: Any) -> bool:
    return isinstance(value, dict) and all(_is_count(epoch) and _is_figures(row) for epoch, row in value.items())


def _is_figures(value: Any) -> bool:
    return _is_mapping(value) and all(type(item) in (int, float) for item in value.values())


def _is_weights(value: Any) -> bool:
    return _is_mapping(value) and all(isinstance(item, Tensor) for item in value.values())


TYPES: Mapping[str, tuple[Test, str]] = {
    **dict.fromkeys(("epoch", "global_step"), (_is_count, "a number from 0")),
    **dict.fromkeys(("pytorch-lightning_version", "config"), (_is_text, "text")),
    **dict.fromkeys(("hyper_parameters", "datamodule_hyper_parameters"), (_is_mapping, "values by name")),
    **dict.fromkeys(("EmotionDataModule", "calibration", "loops", "callbacks"), (_is_mapping, "values by name")),
    "history": (_is_history, "figures by epoch"),
    **dict.fromkeys(("state_dict", "raw_state_dict"), (_is_weights, "tensors by name")),
    **dict.fromkeys(("optimizer_states", "lr_schedulers"), (_is_mappings, "a list of states")),
}
"""Entries of a checkpoint with what each must be, and that in words."""

MOMENTS = ("exp_avg", "exp_avg_sq")
"""What AdamW keeps of each parameter, beside the number of its steps."""

RESUMED = ("epoch", "global_step", "state_dict", "loops", "callbacks", "optimizer_states", "lr_schedulers")
"""Entries without which nothing can go on."""


def check_types(checkpoint: Any, needed: Sequence[str] = ()) -> None:
    """Refuse a checkpoint with an entry of another type than a run writes, or without one that is ``needed``.

    Raises:
        DataError: It is one.
    """
    if not isinstance(checkpoint, dict):
        raise DataError("not a checkpoint of an emotion_lightning run")
    for name, (is_right, expected) in TYPES.items():
        if name in checkpoint and not is_right(checkpoint[name]):
            raise DataError(f"damaged, or changed: its {name} is not {expected}")
    if missing := [name for name in needed if name not in checkpoint]:
        raise DataError(f"it has no {missing[0]}, without which nothing can go on from it")


def check_training(checkpoint: Mapping[str, Any], trainer: "Trainer") -> None:
    """Refuse states of a training that do not go with the one that ``trainer`` is about to take up.

    Its optimizers are made, and nothing is restored yet: what does not go with them would fail in the middle of a step.

    Raises:
        DataError: The state of a loop, an optimizer or a schedule has another form.
    """
    check_types(checkpoint, RESUMED)
    check_loops(checkpoint, trainer)
    schedulers = [config.scheduler.state_dict() for config in trainer.lr_scheduler_configs]
    check_like(checkpoint["lr_schedulers"], schedulers, "lr_schedulers", closed=True)
    check_like(len(checkpoint["optimizer_states"]), len(trainer.optimizers), "optimizer_states")
    for state, optimizer in zip(checkpoint["optimizer_states"], trainer.optimizers, strict=True):
        _check_optimizer(state, optimizer)


def check_loops(checkpoint: Mapping[str, Any], trainer: "Trainer") -> None:
    """Refuse a state of the loops of training in which something is of another type, or missing.

    Raises:
        DataError: It is one.
    """
    check_types(checkpoint, ("loops",))
    check_like(checkpoint["loops"].get("fit_loop"), trainer.fit_loop.state_dict(), "loops.fit_loop")


def check_like(found: Any, own: Any, where: str, closed: bool = False) -> None:
    """Refuse a state that has another form than ``own``, the same part of the state of what takes it up.

    Args:
        found: The state.
        own: What it replaces. None may become anything.
        where: Its name.
        closed: Also refuse names that ``own`` does not have.

    Raises:
        DataError: A value is of another type, a text or a length another, or a number is below 0 where a count is due.
    """
    wrong = DataError(f"damaged, or changed: its {where} does not go with this run")
    if isinstance(own, dict):
        if not isinstance(found, dict) or (closed and found.keys() - own.keys()):
            raise wrong
        for name in own.keys() & found.keys():
            check_like(found[name], own[name], f"{where}.{name}", closed)
    elif isinstance(own, list | tuple):
        if not isinstance(found, list | tuple) or len(found) != len(own):
            raise wrong
        for item, theirs in zip(found, own, strict=True):
            check_like(item, theirs, where, closed)
    elif own is not None and not _is_like(found, own):
        raise wrong


def _is_like(found: Any, own: Any) -> bool:
    if isinstance(own, Tensor):
        return isinstance(found, Tensor) and found.shape == own.shape
    if isinstance(own, bool | str):
        return type(found) is type(own) and (found == own or isinstance(own, bool))
    if isinstance(own, int | float):
        return _is_count(found) if isinstance(own, int) else isinstance(found, int | float)
    return True


def _check_optimizer(state: Mapping[str, Any], optimizer: Optimizer) -> None:
    groups = optimizer.state_dict()["param_groups"]
    check_like(state.get("param_groups"), groups, "optimizer_states.param_groups", closed=True)
    kept, parameters = state.get("state"), list(chain(*(group["params"] for group in optimizer.param_groups)))
    if not isinstance(kept, dict) or not kept.keys() <= set(range(len(parameters))):
        raise DataError("damaged, or changed: its optimizer_states.state does not go with this run")
    for index, values in kept.items():
        adam = isinstance(optimizer, AdamW)
        shapes = dict.fromkeys(MOMENTS, parameters[index].shape) | {"step": Size()} if adam else {}
        if not isinstance(values, dict) or any(
            not isinstance(values.get(name), Tensor) or values[name].shape != shape for name, shape in shapes.items()
        ):
            raise DataError(f"damaged, or changed: its optimizer_states.state.{index} does not go with this run")
