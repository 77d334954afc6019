"""What several processes agree on, and work that only the first of them does."""

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from lightning.pytorch.utilities import rank_zero_only

from emotion_lightning.errors import DataError

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

T = TypeVar("T")


def is_first_rank() -> bool:
    """Say whether this process is the first, also before there is a trainer."""
    rank: int = getattr(rank_zero_only, "rank", 0)
    return rank == 0


def on_first_rank(trainer: "Trainer", function: Callable[[], T]) -> T:
    """Call ``function`` in the first process, and return what it returns there in all of them.

    Raises:
        DataError: The function raised it; all processes do, because those that went on would wait for the first.
    """
    result: T | DataError | None = None
    if trainer.is_global_zero:
        try:
            result = function()
        except DataError as error:
            result = error
    result = trainer.strategy.broadcast(result)
    if isinstance(result, DataError):
        raise result
    return result  # type: ignore[return-value]  # the first process has set it


def of_each_rank(trainer: "Trainer", value: T) -> list[T]:
    """Return the ``value`` of every process, in their order, in all of them."""
    return [trainer.strategy.broadcast(value, src=rank) for rank in range(trainer.world_size)]
