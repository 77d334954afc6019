"""What several processes agree on, and work that only the first of them does."""

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

import torch
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

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


def of_all_ranks(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Each value of every rank, stacked ``(ranks, ...)``; of this one alone where there are no others."""
    several = torch.distributed.is_available() and torch.distributed.is_initialized()
    if not several:
        return {name: value[None] for name, value in values.items()}
    found = {}
    for name, value in values.items():
        ranks = [torch.empty_like(value) for _ in range(torch.distributed.get_world_size())]
        torch.distributed.all_gather(ranks, value)
        found[name] = torch.stack(ranks)
    return found


class Agreement:
    """Lets all ranks of a trainer take notice of a number at the same step, which some have seen before others.

    They ask each other about once a second, so that no GPU waits in each step.
    """

    def __init__(self, trainer: "Trainer"):
        self.trainer = trainer
        self._steps, self._left, self._asked = 1, 1, time.monotonic()

    def highest(self, *numbers: int, at_once: bool = False) -> tuple[int, ...]:
        """Return the highest that any rank has of each of ``numbers``; zeros while it is not time to ask.

        All ranks must call it equally often.

        Args:
            numbers: This rank's.
            at_once: Ask in any case.
        """
        if self.trainer.world_size == 1:
            return numbers
        self._left -= 1
        if self._left > 0 and not at_once:
            return (0,) * len(numbers)
        now, strategy = time.monotonic(), self.trainer.strategy
        taken = (now - self._asked) / max(1, self._steps - self._left)
        mine = torch.tensor([*numbers, taken], dtype=torch.float32, device=strategy.root_device)
        *found, slowest = strategy.reduce(mine, reduce_op="max").tolist()
        self._steps = self._left = max(1, int(1 / max(slowest, 1e-3)))
        self._asked = now
        return tuple(map(int, found))
