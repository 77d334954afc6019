"""Who is compared: this project, its ceiling, and what else people train with."""

from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Protocol

from benchmarks.clock import Lap
from benchmarks.setting import Setting


class Peer(Protocol):
    """Somebody who trains the network.

    All measurements start from the same weights, and with PyTorch's defaults; a peer may set others.
    """

    def measure(self, phase: str, lap: Lap) -> None:
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


def load_peers(setting: Setting) -> tuple[dict[str, Peer], dict[str, str]]:
    """Build everybody whose package is installed, and say what is missing for the others."""
    present, missing = {}, {}
    for name, (module, kind, package) in PEERS.items():
        if find_spec(package) is None:
            missing[name] = f"not installed: pip install {package}"
        else:
            build: Callable[[Setting], Peer] = getattr(import_module(module), kind)
            present[name] = build(setting)
    return present, missing
