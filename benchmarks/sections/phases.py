"""Everybody trains in all phases, in alternation.

Each turn is a new process that goes through the phases in order, as a run does. What one does to its process, such as
PyTorch's settings and how it lays out its memory, reaches nobody else: on a CPU a step can take 1.5 times as long or as
short by what trained in that process before.
"""

from collections import defaultdict
from concurrent.futures import Executor, ProcessPoolExecutor
from multiprocessing import get_context

from tqdm import tqdm

from benchmarks.figure import Figure
from benchmarks.peers import missing_peers
from benchmarks.process import Turn, take_turn
from benchmarks.setting import PHASES, Setting

SECTION = "phases"


def measure(setting: Setting) -> list[Figure]:
    """Measure seconds and peak memory of a step; whoever is not installed says so."""
    missing = missing_peers(setting.peers)
    present = [name for name in setting.peers if name not in missing]
    taken: dict[tuple[str, str], list[Turn]] = defaultdict(list)
    for name in tqdm(present * setting.rounds, SECTION, unit=" turns", position=0):
        with own_process() as process:
            for phase in PHASES:
                taken[phase, name].append(process.submit(take_turn, setting, name, phase).result())
    return [
        _figure(setting, phase, name, taken[phase, name], missing.get(name, ""))
        for phase in PHASES
        for name in setting.peers
    ]


def own_process() -> Executor:
    """A new process, which shares nothing with this one."""
    return ProcessPoolExecutor(1, get_context("spawn"))


def _figure(setting: Setting, phase: str, name: str, turns: list[Turn], note: str) -> Figure:
    return Figure(
        SECTION,
        phase,
        name,
        seconds=tuple(turn.seconds for turn in turns),
        images=setting.batch_size,
        peak_memory=tuple(turn.peak_memory for turn in turns if turn.peak_memory is not None),
        note=note,
    )
