"""Everybody trains in every phase, in alternation."""

import gc
from collections import defaultdict
from functools import partial

import torch
from tqdm import tqdm

from benchmarks.clock import Lap, timed_lap
from benchmarks.figure import Figure
from benchmarks.peers import PEERS, Peer, load_peers
from benchmarks.setting import PHASES, Setting

SECTION = "phases"


def measure(setting: Setting) -> list[Figure]:
    """Measure seconds and peak memory of a step; whoever is not installed says so."""
    present, missing = load_peers(setting)
    taken: dict[tuple[str, str], list[tuple[float, int | None]]] = defaultdict(list)
    turns = [(phase, name) for _ in range(setting.rounds) for phase in PHASES for name in present]
    gc.freeze()  # so that collecting what a turn leaves is quick
    for phase, name in tqdm(turns, SECTION, unit=" turns", position=0):
        taken[phase, name].append(_turn(setting, present[name], phase))
    gc.unfreeze()
    return [
        _figure(setting, phase, name, taken[phase, name], missing.get(name, "")) for phase in PHASES for name in PEERS
    ]


def _turn(setting: Setting, peer: Peer, phase: str) -> tuple[float, int | None]:
    """Seconds of a step, and bytes on the GPU at most beyond what others left there."""
    lap, before = Lap(setting.warm_up, setting.steps), 0
    gc.collect()
    if setting.on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    seconds = timed_lap(partial(peer.measure, phase), lap)
    return seconds, torch.cuda.max_memory_allocated() - before if setting.on_gpu else None


def _figure(setting: Setting, phase: str, name: str, taken: list[tuple[float, int | None]], note: str) -> Figure:
    return Figure(
        SECTION,
        phase,
        name,
        seconds=tuple(seconds for seconds, _ in taken),
        images=setting.batch_size,
        peak_memory=tuple(memory for _, memory in taken if memory is not None),
        note=note,
    )
