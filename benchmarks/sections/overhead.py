"""What all that we add costs where a step is short: average, metrics, callbacks and logging."""

from dataclasses import replace
from functools import partial

from benchmarks.clock import alternate
from benchmarks.figure import Figure
from benchmarks.peers import Peer
from benchmarks.peers.ceiling import Ceiling
from benchmarks.peers.ours import Ours
from benchmarks.process import step_seconds
from benchmarks.setting import Setting

SIZE = 64
WARM_UP, STEPS = 3, 20  # a step at this size takes a fraction of a second


def measure(setting: Setting) -> list[Figure]:
    """Compare a run on random numbers, and one on images, with the bare loop, in the first and the last phase."""
    there = len(setting.files()[0]) // setting.batch_size
    warm_up = min(WARM_UP, there - 1)
    steps = min(STEPS, there - warm_up)
    small = replace(setting, image_size=min(SIZE, setting.image_size), warm_up=warm_up, steps=steps)
    peers: dict[str, Peer] = {
        "ceiling": Ceiling(small),
        "ours, random numbers": Ours(small, synthetic=True),
        "ours": Ours(small),
    }
    figures = []
    for phase in ("classifier only", "all"):
        turns = {name: partial(step_seconds, small, peer, phase) for name, peer in peers.items()}
        seconds = alternate(turns, small.rounds, f"overhead, {phase}")
        figures += [Figure("overhead", phase, name, seconds[name], small.batch_size) for name in peers]
    return figures
