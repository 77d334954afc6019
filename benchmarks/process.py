"""A peer's turn, as its process takes it."""

import gc
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch

from benchmarks.clock import BatchTimer
from benchmarks.peers import Peer, load_peer
from benchmarks.setting import Setting

PROCESS = Path("/proc/self")
"""What Linux tells of this process."""


class Turn(NamedTuple):
    """What a turn took.

    Args:
        seconds: Seconds of a step.
        peak_memory: Bytes at most: on a GPU those that PyTorch held there, on a CPU all of the process without those of
            its workers; None where the system does not tell.
    """

    seconds: float
    peak_memory: int | None


def take_turn(setting: Setting, name: str, phase: str) -> Turn:
    """Train in a phase; what that took is free then."""
    peer = _prepared(name, setting)
    _reset_peak(setting)
    turn = Turn(step_seconds(setting, peer, phase), _peak(setting))
    gc.collect()
    if setting.on_gpu:
        torch.cuda.empty_cache()
    return turn


def step_seconds(setting: Setting, peer: Peer, phase: str) -> float:
    """Mean seconds of a step of ``peer`` in ``phase``."""
    lap = BatchTimer(setting.warm_up, setting.steps)
    peer.measure(phase, lap)
    return lap.seconds


@cache
def _prepared(name: str, setting: Setting) -> Peer:
    return load_peer(name, setting)


def _reset_peak(setting: Setting) -> None:
    if setting.on_gpu:
        torch.cuda.reset_peak_memory_stats()
    elif (marks := PROCESS / "clear_refs").exists():
        marks.write_text("5", encoding="utf-8")


def _peak(setting: Setting) -> int | None:
    if setting.on_gpu:
        return torch.cuda.max_memory_allocated()
    if not (status := PROCESS / "status").exists():
        return None
    [line] = [line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024
