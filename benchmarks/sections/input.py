"""From files to an augmented float batch in one process on one core: our cache against torchvision's PIL transforms."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import cycle
from typing import Any

import torch
from torch.utils.data import DataLoader, default_collate

from benchmarks.clock import alternate, repeated
from benchmarks.figure import Figure
from benchmarks.peers.network import Pictures, endless
from benchmarks.peers.notebook import recipe_transform
from benchmarks.peers.ours import images, silence
from benchmarks.setting import Setting
from emotion_lightning.data.augment import POLICIES, augment, sample_params


def measure(setting: Setting) -> list[Figure]:
    """Measure seconds of a batch in both phases of augmentation."""
    figures, ours = [], _cached(setting)
    for phase in POLICIES:
        contestants = {"ours": _ours(setting, ours, phase), "torchvision": _torchvision(setting, phase)}
        with one_core():
            calls = {name: partial(repeated, batch, setting.least_seconds) for name, batch in contestants.items()}
            seconds = alternate(calls, setting.rounds, f"input, phase {phase}")
        figures += [Figure("input", f"phase {phase}", name, seconds[name], setting.batch_size) for name in contestants]
    return figures


def _cached(setting: Setting) -> DataLoader[Any]:
    """The loader that a run has, without workers; the cache is filled."""
    data = images(setting)
    data.num_workers = 0
    with silence():
        data.setup("fit")
    return data.train_dataloader()


def _ours(setting: Setting, loader: DataLoader[Any], phase: int) -> Callable[[], object]:
    batches = endless(loader)

    def batch() -> object:
        pixels, _, indices = next(batches)
        return augment(pixels, sample_params(indices, setting.seed), POLICIES[phase], setting.image_size)

    return batch


def _torchvision(setting: Setting, phase: int) -> Callable[[], object]:
    pictures = Pictures(*setting.files(), recipe_transform(phase, setting.image_size))
    order = cycle(torch.randperm(len(pictures), generator=torch.Generator().manual_seed(setting.seed)).tolist())
    return lambda: default_collate([pictures[next(order)] for _ in range(setting.batch_size)])


@contextmanager
def one_core() -> Iterator[None]:
    """Let PyTorch compute in one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
