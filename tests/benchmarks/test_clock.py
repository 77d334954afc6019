import pytest

from benchmarks import clock
from benchmarks.clock import BatchTimer, alternate, repeated, run_lap


class Time:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = 0.0
        monkeypatch.setattr(clock, "now", lambda: self.seconds)

    def passes(self, seconds: float) -> None:
        self.seconds += seconds


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    return Time(monkeypatch)


def test_a_lap_leaves_the_warm_up_out(time: Time) -> None:
    durations = iter([50.0, 40.0, 1.0, 2.0, 3.0])
    lap = BatchTimer(warm_up=2, steps=3)
    run_lap(lap, lambda: time.passes(next(durations)))
    assert lap.seconds == 2.0
    assert next(durations, None) is None


def test_a_call_is_repeated_until_it_fills_the_time(time: Time) -> None:
    durations = iter([50.0, 1.0, 2.0, 3.0, 4.0])
    assert repeated(lambda: time.passes(next(durations)), least_seconds=6.0) == 2.0
    assert list(durations) == [4.0]


def test_a_call_is_timed_once_at_least(time: Time) -> None:
    assert repeated(lambda: time.passes(3.0), least_seconds=0.0) == 3.0


def test_contestants_take_turns() -> None:
    order: list[str] = []

    def turn(name: str) -> float:
        order.append(name)
        return float(len(order))

    taken = alternate({name: lambda name=name: turn(name) for name in "ABC"}, 2, "test")
    assert order == [*"ABCABC"]
    assert taken == {"A": (1.0, 4.0), "B": (2.0, 5.0), "C": (3.0, 6.0)}
