"""What a benchmark runs with: the same images, network, batch and device for everybody."""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from emotion_lightning.data.sources.manifest import Manifest, read_manifest
from emotion_lightning.errors import UsageError
from emotion_lightning.schedule import trainable_stages

PHASES = {
    "classifier only": "classifier",
    "+ layer4": "layer4",
    "+ layer3": "layer3",
    "+ layer2": "layer2",
    "all": "stem",
}
"""Phases of the recipe by the lowest stage that trains."""


def stages_of(phase: str) -> tuple[str, ...]:
    """Stages that train in a phase, from input to output."""
    return trainable_stages({0: PHASES[phase]}, 0)


@dataclass(frozen=True)
class Setting:
    """Options of a benchmark.

    Args:
        peers: Who trains, by name.
        root: Folder of the images.
        backbone: Name of a timm model.
        image_size: Side of the network's input in pixels.
        batch_size: Images of a step.
        rounds: How often everything is measured, in alternation.
        warm_up: Steps before the clock starts.
        steps: Steps on the clock.
        workers: Processes that read images, for everybody.
        device: cpu or cuda.
        least_seconds: A part that takes less is repeated for so long, and the mean of its calls is taken.
        seed: Seed of what is random.
    """

    peers: tuple[str, ...]
    root: Path
    backbone: str
    image_size: int
    batch_size: int
    rounds: int
    warm_up: int
    steps: int
    workers: int
    device: str
    least_seconds: float = 0.2
    seed: int = 42

    @cached_property
    def manifest(self) -> Manifest:
        """The images.

        Raises:
            UsageError: They are not files, or too few for an epoch of as many steps as are measured.
        """
        manifest = read_manifest(self.root, self.seed)
        needed, there = (self.warm_up + self.steps) * self.batch_size, len(manifest.indices("train"))
        if manifest.paths is None:
            raise UsageError(f"--root {self.root}: the peers read files; give a folder of images")
        if there < needed:
            raise UsageError(
                f"--root {self.root} has {there} training images, but {self.warm_up} + {self.steps} steps of "
                f"{self.batch_size} take {needed}: lower --batch_size or --steps"
            )
        return manifest

    def files(self, split: str = "train") -> tuple[list[Path], list[int]]:
        """Image files of a split, with their labels."""
        paths = self.manifest.paths
        assert paths is not None
        indices = self.manifest.indices(split)
        return [paths[index] for index in indices], [self.manifest.labels[index] for index in indices]

    @property
    def class_names(self) -> list[str]:
        """Names of the classes in the order of the labels."""
        return list(self.manifest.class_names)

    @property
    def on_gpu(self) -> bool:
        """Whether the device is a GPU."""
        return self.device != "cpu"

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self) | {"root": str(self.root)}


def usual_setting(given: Mapping[str, Any]) -> dict[str, Any]:
    """Fill in what is not given (None): what suits the device."""
    device = given["device"] or ("cuda" if torch.cuda.is_available() else "cpu")
    workers = given["workers"]
    if workers is None:  # as many as the datamodule takes
        workers = min(8, max(0, (os.cpu_count() or 1) - 1))
    # as many steps as are read ahead come sooner than they can go on coming, and a process's first steps find neither
    # their memory nor their workers ready: of two, the second was seen to take 1.8 times as long as those that follow
    steps = max(3, workers)
    usual = {"batch_size": 256 if device == "cuda" else 16, "warm_up": steps, "steps": steps}
    filled = {name: usual.get(name) if value is None else value for name, value in given.items()}
    return {**filled, "peers": tuple(given["peers"]), "device": device, "workers": workers}
