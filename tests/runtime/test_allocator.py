import ctypes
import platform
import subprocess
import sys
from types import SimpleNamespace

import pytest

from emotion_lightning.runtime.allocator import tune_malloc

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")

# a process of its own, as what lies in this one's memory decides what can be given back
STEPS = """
import resource
from emotion_lightning.runtime.allocator import tune_malloc

def page_faults():
    for _ in range(2):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        blocks = [bytearray(16 * 2**20) for _ in range(10)]
        del blocks
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

usual = page_faults()
tune_malloc()
print(usual, page_faults())
"""


def test_what_is_freed_stays_for_the_next_step() -> None:
    ended = subprocess.run([sys.executable, "-c", STEPS], check=True, capture_output=True, text=True)
    usual, kept = map(int, ended.stdout.split())
    assert kept < usual / 4


def test_a_users_own_choice_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[tuple[int, int]] = []
    library = SimpleNamespace(mallopt=lambda name, value: called.append((name, value)))
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    tune_malloc()
    assert (-1, 2**31 - 1) in called
    called.clear()
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "1000000")
    tune_malloc()
    assert not called
