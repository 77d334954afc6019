"""Who is compared: this project, its ceiling, and what else people train with."""

from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Protocol

from benchmarks.clock import BatchTimer
from benchmarks.setting import Setting


class Peer(Protocol):
    """Somebody who trains the network, from the same weights as all; a peer may change PyTorch's settings."""

    def measure(self, phase: str, lap: BatchTimer) -> None:
        """Train in ``phase``, with images of its own reading, until the lap is over."""


PEERS: Mapping[str, tuple[str, str, str]] = {
    "ours": ("benchmarks.peers.ours", "Ours", "emotion_lightning"),
    "notebook": ("benchmarks.peers.notebook", "Notebook", "torchvision"),
    "ceiling": ("benchmarks.peers.ceiling", "Ceiling", "emotion_lightning"),
    "timm": ("benchmarks.peers.timm_script", "TimmScript", "timm"),
    "fastai": ("benchmarks.peers.fastai_learner", "FastaiLearner", "fastai"),
    "transformers": ("benchmarks.peers.transformers_trainer", "TransformersTrainer", "transformers"),
}
"""Module and class of each, and the package that it needs."""


def missing_peers(names: Iterable[str]) -> dict[str, str]:
    """Say what is missing for those whose package is not installed."""
    packages = {name: PEERS[name][2] for name in names}
    return {
        name: f"not installed: pip install {package}"
        for name, package in packages.items()
        if find_spec(package) is None
    }


def load_peer(name: str, setting: Setting) -> Peer:
    """Build one; only now its module and package are imported."""
    module, kind, _ = PEERS[name]
    build: Callable[[Setting], Peer] = getattr(import_module(module), kind)
    return build(setting)
