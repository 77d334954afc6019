from pathlib import Path

import numpy as np
import pytest

from benchmarks import process
from benchmarks.clock import BatchTimer
from benchmarks.process import take_turn
from benchmarks.setting import Setting

MEGABYTE = 10**6


class Hungry:
    """Holds so many megabytes in the phase of that name."""

    def __init__(self, setting: Setting) -> None: ...

    def measure(self, phase: str, lap: BatchTimer) -> None:
        held = np.ones(int(phase) * MEGABYTE, dtype=np.uint8)
        lap.seconds = 1.0
        del held


@pytest.fixture
def hungry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "load_peer", lambda name, setting: Hungry(setting))


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the system does not tell")
@pytest.mark.usefixtures("hungry")
def test_the_peak_is_that_of_the_turn(setting: Setting) -> None:
    peaks = [take_turn(setting, "hungry", megabytes).peak_memory or 0 for megabytes in ("0", "400", "0", "200")]
    before, most, after, less = (peak / MEGABYTE for peak in peaks)
    assert most - before == pytest.approx(400, abs=20)
    assert after - before == pytest.approx(0, abs=20)
    assert less - before == pytest.approx(200, abs=20)


@pytest.mark.usefixtures("hungry")
def test_a_system_that_does_not_tell_its_memory(
    setting: Setting, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(process, "PROCESS", tmp_path)
    assert take_turn(setting, "hungry", "1") == (1.0, None)
