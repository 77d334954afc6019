"""What several processes agree on, and work that only the first of them does."""

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from lightning.pytorch.utilities import rank_zero_only

from emotion_lightning.errors import DataError, EmotionError

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
        result.of_all_ranks = True
        raise result
    return result  # type: ignore[return-value]  # the first process has set it


def of_each_rank(trainer: "Trainer", value: T) -> list[T]:
    """Return the ``value`` of every process, in their order, in all of them."""
    return [trainer.strategy.broadcast(value, src=rank) for rank in range(trainer.world_size)]


def on_every_rank(trainer: "Trainer", function: Callable[[], str]) -> None:
    """Call ``function`` in each process, which must return the same in all of them.

    Raises:
        EmotionError: The function raised it in one process; all raise it, or they would wait for that one.
        DataError: It returned something else in one process than in the first.
    """
    found: str | EmotionError
    try:
        found = function()
    except EmotionError as error:
        found = error
    every = of_each_rank(trainer, found)
    failed = next((each for each in every if isinstance(each, EmotionError)), None)
    if failed is None and len(set(every)) > 1:
        rank = next(rank for rank, each in enumerate(every) if each != every[0])
        failed = DataError(
            f"process {rank} of the run sees other data than the first: give all machines the same files under the "
            "same names, and the same options"
        )
    if failed is not None:
        failed.of_all_ranks = True
        raise failed
