"""Signals in a process of its own state: each test leaves the handlers as it found them."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from emotion_lightning.runtime import signals
from emotion_lightning.runtime.signals import SIGNALS, Interrupted, Signals, interruption, queued_again


@pytest.fixture
def taken() -> Iterator[Signals]:
    """Signals that a process has taken, in which SIGTERM by itself would raise."""
    before, found = signal.getsignal(signal.SIGTERM), Signals()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    found.take(trainer())
    yield found
    found.give_back()
    signal.signal(signal.SIGTERM, before)


def trainer() -> Any:
    return SimpleNamespace(strategy=SimpleNamespace(launcher=None, cluster_environment=None), local_rank=0)


def test_the_first_signal_is_noted_and_the_second_ends(taken: Signals, monkeypatch: pytest.MonkeyPatch) -> None:
    taken.waiting = True
    signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGINT)  # at once, as by what passes on the signal of its process group
    assert taken.received == signal.SIGTERM
    monkeypatch.setattr(signals, "SAME", 0.0)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)


def test_where_nothing_is_to_be_saved_a_signal_does_what_it_did_before(taken: Signals) -> None:
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGINT) == signal.default_int_handler


def test_an_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    found = Signals()
    found.take(trainer())
    signal.raise_signal(signal.SIGHUP)
    found.give_back()
    assert (found.received, signal.signal(signal.SIGHUP, before)) == (0, signal.SIG_IGN)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_process_ends_with_128_and_the_signals_number(number: int) -> None:
    assert interruption(trainer(), number).code == 128 + number


@pytest.mark.parametrize(
    ("environment", "job"), [({}, "42"), ({"SLURM_ARRAY_JOB_ID": "40", "SLURM_ARRAY_TASK_ID": "3"}, "40_3")]
)
def test_slurm_queues_the_job_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], job: str
) -> None:
    scontrol = tmp_path / "scontrol"
    scontrol.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n')
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    for name, value in ({"SLURM_JOB_ID": "42"} | environment).items():
        monkeypatch.setenv(name, value)
    assert interruption(trainer(), signal.SIGUSR1).code == 0
    with monkeypatch.context() as patch:
        patch.setattr(signals, "is_first_rank", lambda: False)
        assert interruption(trainer(), signal.SIGUSR1).code == 0
    assert (tmp_path / "asked").read_text() == f"requeue {job}\n"
    assert interruption(trainer(), signal.SIGTERM).code == 143
    with pytest.raises(Interrupted, match="0"), queued_again():
        signal.raise_signal(signal.SIGUSR1)
    assert signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL


@pytest.mark.parametrize("script", [None, "#!/bin/sh\necho no such job >&2\nexit 1\n"])
def test_a_job_that_cannot_be_queued_again_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None
) -> None:
    if script:
        (tmp_path / "scontrol").write_text(script)
        (tmp_path / "scontrol").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("SLURM_JOB_ID", "42")
    with pytest.warns(UserWarning, match=r"scontrol requeue 42: .*; submit it anew"):
        assert interruption(trainer(), signal.SIGUSR1).code == 138


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing is forked")
def test_a_process_that_reads_images_lives_through_a_signal_at_its_start_and_ends_with_the_run() -> None:
    program = """
import os, signal
from PIL import Image
from emotion_lightning.data.dataset import FaceDataset, SequentialSampler, data_loader
os.register_at_fork(after_in_child=lambda: os.kill(os.getpid(), signal.SIGHUP))
faces = FaceDataset(lambda index: Image.new("RGB", (8, 8)), [0] * 4, 8)
batches = iter(data_loader(faces, SequentialSampler(range(4), 0, 1), 2, workers=1))
print(next(batches)[2].tolist())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[0, 1]\n", "")
