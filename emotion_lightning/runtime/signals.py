"""Signals that end a run: while it trains the first is noted, so that a checkpoint can be saved; a second ends it."""

import atexit
import multiprocessing
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from emotion_lightning.runtime.ranks import is_first_rank

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

SIGNALS = tuple(
    signal.Signals[name] for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1") if hasattr(signal, name)
)  # Windows has the first two

SAME = 1.0
"""Seconds within which a signal is the one before: torchrun and timeout pass on what the whole group has received."""


class Interrupted(SystemExit):
    """A signal has ended the run; as any ``SystemExit``, it holds the status of the process."""


class Signals:
    """Takes the signals that end a process, for as long as ``launcher``'s trainer is at work.

    While ``waiting``, the first is only noted as ``received``, whatever the process is at: a handler may run in the
    middle of an optimizer step or of a collective. At other times, and at the second, what would have happened without
    this class does: by default, the process ends. A signal that was ignored, as by ``nohup``, still is.
    """

    def __init__(self) -> None:
        self.received, self.waiting = 0, False
        self._first = 0.0
        self._before: dict[int, Any] = {}
        self._launcher: Any = None

    def take(self, trainer: "Trainer") -> None:
        """Take the signals, and keep Lightning's handlers out.

        Lightning's broadcast within a handler, which hangs if another rank is in another collective; under SLURM they
        save at any point of a step, into another folder. Should its private name change, they come instead of these.
        """
        self.received, self.waiting, self._launcher = 0, False, trainer.strategy.launcher
        if hasattr(trainer, "_signal_connector"):
            trainer._signal_connector.register_signal_handlers = _register_none  # type: ignore[method-assign]
        if not self._before and threading.current_thread() is threading.main_thread():
            before = {number: signal.getsignal(number) for number in SIGNALS}
            self._before = {number: old for number, old in before.items() if old not in (None, signal.SIG_IGN)}
            for number in self._before:
                signal.signal(number, self._handle)

    def give_back(self) -> None:
        """Leave signals to what took them before."""
        self.waiting = False
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _handle(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.waiting and (not self.received or now - self._first < SAME):
            if not self.received:
                self.received, self._first = number, now
            return
        self.give_back()
        if self._launcher is not None:  # processes that Lightning has started would wait for this one
            self._launcher.kill(number)
        signal.raise_signal(number)


@contextmanager
def held_back() -> Iterator[None]:
    """Hold signals back while processes are forked: at first they would take them by the handlers of this one."""
    if not hasattr(signal, "pthread_sigmask"):  # as on Windows, where nothing is forked
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_to_the_run(worker: int) -> None:
    """Let a process that reads images outlive the first signal, which its whole process group may have received.

    Without it the run could not end its step. SIGTERM is how the run itself ends such a process, so a second one does.
    """
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.signal(signal.SIGTERM, signal.SIG_DFL))
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


@atexit.register
def _end_readers() -> None:
    """End the processes that read images and are left: Python sends SIGTERM once, and would wait for them for ever."""
    readers = [process for process in multiprocessing.active_children() if process.daemon]
    if readers and hasattr(signal, "SIGCHLD"):
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # by which torch would report them as lost
    for process in readers:
        process.kill()


def interruption(trainer: "Trainer", number: int) -> Interrupted:
    """What ends this process after signal ``number``, when its checkpoint is saved: status 128 and the number.

    SIGUSR1 is how SLURM announces the end of a job's time (``--signal``): the job is queued again, with status 0.
    Processes that Lightning started have 0 as well: it kills all others when one of them has another.
    """
    environment = getattr(trainer.strategy, "cluster_environment", None)
    if isinstance(environment, LightningEnvironment) and trainer.local_rank > 0:
        return Interrupted(0)
    return Interrupted(_status(number))


@contextmanager
def queued_again() -> Iterator[None]:
    """Let SIGUSR1 queue a job of SLURM again before training begins and after it has ended, too."""
    if not _announces_end(getattr(signal, "SIGUSR1", None)):
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:
        raise Interrupted(_status(number))

    before = signal.signal(signal.SIGUSR1, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)


def _announces_end(number: int | None) -> bool:
    return number is not None and number == getattr(signal, "SIGUSR1", None) and "SLURM_JOB_ID" in os.environ


def _status(number: int) -> int:
    if _announces_end(number) and (not is_first_rank() or _requeued()):
        return 0
    return 128 + number


def _requeued() -> bool:
    job = os.environ["SLURM_JOB_ID"]
    if "SLURM_ARRAY_JOB_ID" in os.environ:  # the last task of an array has the array's own id
        job = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    try:
        found = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True, check=False)
        said = None if found.returncode == 0 else found.stderr.strip() or f"status {found.returncode}"
    except OSError as error:
        said = str(error.strerror)
    if said is None:
        rank_zero_info(f"Job {job} is queued again")
    else:
        rank_zero_warn(f"the job could not be queued again, scontrol requeue {job}: {said}; submit it anew")
    return said is None


def _register_none() -> None:
    """Take no signals."""
