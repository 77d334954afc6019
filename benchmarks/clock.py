"""Measuring in alternation, so that whatever else the machine does meets everybody alike."""

import time
from collections import defaultdict
from collections.abc import Callable, Mapping

import torch
from tqdm import tqdm


def now() -> float:
    """Seconds on a clock, read when the GPU has done all that was asked of it."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter()


class BatchTimer:
    """Mean seconds of a step, from the end of one to the end of another; the first ones are left out.

    Args:
        warm_up: Steps to leave out, at least 1.
        steps: Steps to measure.
    """

    def __init__(self, warm_up: int, steps: int) -> None:
        self.warm_up, self.steps = max(1, warm_up), steps
        self.seconds = 0.0
        self._ended, self._start = 0, 0.0

    def end_of_step(self) -> bool:
        """Count a step; true if it was the last."""
        self._ended += 1
        if self._ended == self.warm_up:
            self._start = now()
        elif self._ended == self.warm_up + self.steps:
            self.seconds = (now() - self._start) / self.steps
            return True
        return False


def run_lap(lap: BatchTimer, step: Callable[[], object]) -> None:
    """Take steps until the lap is over."""
    step()
    while not lap.end_of_step():
        step()


def repeated(call: Callable[[], object], least_seconds: float) -> float:
    """Seconds of a call, the mean of as many as fill ``least_seconds``; another before them is left out."""
    call()
    calls, start = 0, now()
    while (seconds := now() - start) < least_seconds or not calls:
        call()
        calls += 1
    return seconds / calls


def alternate(contestants: Mapping[str, Callable[[], float]], rounds: int, title: str) -> dict[str, tuple[float, ...]]:
    """Let all take turns, round by round; each returns the seconds that it took.

    Args:
        contestants: What to call, by name.
        rounds: How often.
        title: What the progress bar says.
    """
    seconds: dict[str, list[float]] = defaultdict(list)
    for _ in tqdm(range(rounds), title, unit=" rounds", position=0):
        for name, measure in contestants.items():
            seconds[name].append(measure())
    return {name: tuple(values) for name, values in seconds.items()}
