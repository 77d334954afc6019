"""What it costs a step to see whether its numbers are finite: runs with and without the callback, in alternation."""

from dataclasses import replace
from functools import partial

from benchmarks.clock import alternate
from benchmarks.figure import Figure
from benchmarks.peers.ours import Ours
from benchmarks.process import step_seconds
from benchmarks.setting import Setting
from emotion_lightning.callbacks import Divergence

SIZE = 64
"""Side of the images in pixels, at which a step is short."""


def measure(setting: Setting) -> list[Figure]:
    """Compare runs on random numbers in the last phase, where all weights train."""
    small = replace(setting, image_size=min(SIZE, setting.image_size))
    peers = {"without": Ours(small, synthetic=True, without=(Divergence,)), "ours": Ours(small, synthetic=True)}
    turns = {name: partial(step_seconds, small, peer, "all") for name, peer in peers.items()}
    seconds = alternate(turns, small.rounds, "divergence")
    return [Figure("divergence", "all", name, seconds[name], small.batch_size) for name in peers]
