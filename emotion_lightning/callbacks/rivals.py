"""Callbacks that do what one of the recipe's does: both in one run would undo each other's work."""

from lightning.pytorch import Callback, Trainer

from emotion_lightning.errors import UsageError


def refuse_rivals(own: Callback, trainer: Trainer, rivals: type[Callback], option: str) -> None:
    """Refuse a run in which ``own`` is beside another of ``rivals``.

    Args:
        own: One of the recipe's callbacks.
        trainer: The run's trainer.
        rivals: Class of callbacks that do the same.
        option: What to use instead, as a message names it.

    Raises:
        UsageError: There is one.
    """
    for other in trainer.callbacks:  # type: ignore[attr-defined]
        if other is not own and isinstance(other, rivals):
            name = type(other).__name__
            raise UsageError(f"{name} would work against the recipe's {type(own).__name__}: use {option}, not {name}")
