"""The torch data set of faces, its samplers, which are pure functions of (seed, epoch, rank), and its loader."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from emotion_lightning.batch import IGNORE_INDEX
from emotion_lightning.data.images.decode import to_tensor
from emotion_lightning.runtime.signals import held_back, leave_to_the_run
from emotion_lightning.seeding import derive_seed

Sample = tuple[Tensor, int | Tensor, int]


@dataclass(frozen=True)
class FaceDataset(Dataset[Sample]):
    """Images by their position in the manifest, resized to a square; it knows neither epoch nor randomness.

    Args:
        read: Reads the image at a position.
        labels: Label of each position: its class, or a row of the votes for each class ``(N, classes)``.
        size: Side of the square in pixels.
    """

    read: Callable[[int], Image.Image]
    labels: Sequence[int] | Tensor
    size: int

    def __getitem__(self, index: int) -> Sample:
        """Return image uint8 ``(3, size, size)``, label and position; for padding, a black image with its label."""
        if index == IGNORE_INDEX:
            return torch.zeros(3, self.size, self.size, dtype=torch.uint8), IGNORE_INDEX, IGNORE_INDEX
        return to_tensor(self.read(index), self.size), self.labels[index], index


class EpochSampler(DistributedSampler[int]):
    """Knows its epoch, and begins behind what was trained of it before an interruption.

    It is a ``DistributedSampler`` because Lightning puts its own in place of any other, and tells it the epoch.
    """

    epoch, trained = 0, 0

    def resume(self, epoch: int, trained: int) -> None:
        """Leave out the first ``trained`` images of this rank in ``epoch``, and none in others."""
        self.epoch, self.trained = epoch, trained

    def set_epoch(self, epoch: int) -> None:
        """Go to ``epoch``; Lightning also names the one that a resumed run is in."""
        self.resume(epoch, self.trained if epoch == self.epoch else 0)


class ShuffledSampler(EpochSampler):
    """A new order every epoch, shared out so that all ranks take equally many steps.

    Args:
        indices: Images of the training split.
        seed: Seed of the order.
        epoch: Epoch of the first order.
        rank: This process, from 0.
        world_size: Number of processes.
    """

    def __init__(self, indices: Sequence[int], seed: int, epoch: int = 0, rank: int = 0, world_size: int = 1):
        self.indices, self.seed, self.epoch, self.rank, self.world_size = indices, seed, epoch, rank, world_size

    def __len__(self) -> int:
        """Images that one rank sees in a whole epoch, also where it begins behind some of them."""
        return len(self.indices) // self.world_size

    def __iter__(self) -> Iterator[int]:
        """Yield this rank's images in this epoch's order."""
        generator = torch.Generator().manual_seed(derive_seed(self.seed, "shuffle", self.epoch))
        mine = self._order(generator)[self.rank :: self.world_size][: len(self)]
        return (self.indices[position] for position in mine[self.trained :])

    def _order(self, generator: torch.Generator) -> list[int]:
        order: list[int] = torch.randperm(len(self.indices), generator=generator).tolist()
        return order


class BalancedSampler(ShuffledSampler):
    """As many draws in an epoch as there are images, with replacement, in which every class is equally frequent.

    Args:
        indices: Images of the training split.
        seed: Seed of the draws.
        epoch: Epoch of the first draws.
        rank: This process, from 0.
        world_size: Number of processes.
        labels: Class of each image of the data, by its position.
    """

    def __init__(
        self, indices: Sequence[int], seed: int, epoch: int, rank: int, world_size: int, labels: Sequence[int]
    ):
        super().__init__(indices, seed, epoch, rank, world_size)
        classes = torch.tensor([labels[index] for index in indices])
        self.weights = 1.0 / classes.bincount()[classes]

    def _order(self, generator: torch.Generator) -> list[int]:
        drawn: list[int] = self.weights.multinomial(len(self.indices), True, generator=generator).tolist()
        return drawn


class SequentialSampler(EpochSampler, torch.utils.data.SequentialSampler):
    """Every image once, in order; ranks that run out are filled up with padding, which counts in no metric.

    Ranks must take equally many steps, or those with more would wait for the others for ever. As one of torch's
    sequential samplers it stays where Lightning's ``overfit_batches`` would put its own over the whole data set.

    Args:
        indices: Images to evaluate.
        rank: This process, from 0.
        world_size: Number of processes.
    """

    def __init__(self, indices: Sequence[int], rank: int = 0, world_size: int = 1):
        self.indices, self.rank, self.world_size = indices, rank, world_size

    def __len__(self) -> int:
        """Rows that one rank sees, padding included."""
        return -(-len(self.indices) // self.world_size)

    def __iter__(self) -> Iterator[int]:
        """Yield this rank's images, then padding."""
        mine = list(self.indices[self.rank :: self.world_size])
        return iter((mine + [IGNORE_INDEX] * (len(self) - len(mine)))[self.trained :])


class FaceLoader(DataLoader[Sample]):
    """Loads batches by processes that leave signals to the run from their first moment."""

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        """Begin an epoch."""
        with held_back():
            return super().__iter__()


def spread(indices: Sequence[int], labels: Sequence[int], seed: int) -> list[int]:
    """Order images so that however few are taken from the front, every class has equally many as far as it goes.

    Args:
        indices: The images.
        labels: Class of each image of the data, by its position.
        seed: Which images of a class come first is a function of it and of their positions.
    """
    drawn = sorted(indices, key=lambda index: derive_seed(seed, "limit", index))
    found, turns = Counter[int](), dict[int, int]()
    for index in drawn:
        turns[index] = found[labels[index]]
        found[labels[index]] += 1
    return sorted(drawn, key=lambda index: (turns[index], labels[index]))


def data_loader(
    dataset: FaceDataset,
    sampler: ShuffledSampler | SequentialSampler,
    batch_size: int,
    workers: int,
    drop_last: bool = False,
) -> DataLoader[Sample]:
    """Load batches of what ``sampler`` draws, with worker processes that stay from epoch to epoch."""
    return FaceLoader(
        dataset,
        batch_size=batch_size,
        sampler=sampler,
        drop_last=drop_last,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=leave_to_the_run,
        generator=torch.Generator(),  # or every new iterator would draw from the generator that dropout uses
    )
