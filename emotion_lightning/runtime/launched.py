"""What the processes that torchrun has started tell each other outside of training: ready, or why one of them ends."""

import json
import os
import time
from datetime import timedelta
from typing import NamedTuple

import torch.distributed as dist

PATIENCE = timedelta(minutes=30)
"""How long the others are waited for, as torch does; one that checks a large data set takes its time."""

HEARD = 10.0
"""Seconds that a process that ends leaves the others to hear why: torchrun may end their store with it."""

GONE = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "failed to connect")
"""What torch says to a process of which another has ended."""


class Ending(NamedTuple):
    """How a process ends: which it is, on which machine, the status of its exit and its error."""

    rank: int
    machine: int
    status: int
    message: str


class Launched:
    """The processes of a run, by the store of torchrun through which they find each other."""

    def __init__(self) -> None:
        self.rank, self.world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        self.machine = int(os.environ.get("GROUP_RANK", "0"))
        store = dist.TCPStore(  # type: ignore[attr-defined]
            os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False, timeout=PATIENCE
        )
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        self._store = dist.PrefixStore(f"emotion_lightning/{attempt}", store)  # type: ignore[attr-defined]

    def wait_until_ready(self) -> Ending | None:
        """Wait until all processes are ready to train; return how one of them ends instead."""
        self._store.set(f"ready{self.rank}", "")
        ready, until = [f"ready{rank}" for rank in range(self.world_size)], time.monotonic() + PATIENCE.total_seconds()
        while not self._store.check(ready) and time.monotonic() < until:
            if ending := self.first_ending():
                return ending
            time.sleep(0.1)
        return self.first_ending()

    def end(self, status: int, message: str) -> bool:
        """Tell the others how this process ends; true if it is the one of its machine that is to say so."""
        mine = Ending(self.rank, self.machine, status, message)
        self._store.set(f"ending{self.rank}", json.dumps(mine))
        self._store.set(f"heard{self.rank}", "")
        if dist.is_initialized():  # those that wait for this process within a step are told by that
            dist.destroy_process_group()
        heard, until = [f"heard{rank}" for rank in range(self.world_size)], time.monotonic() + HEARD
        while not self._store.check(heard) and time.monotonic() < until:
            time.sleep(0.1)
        alike = [each for each in self._endings() if (each.machine, each.message) == (self.machine, message)]
        return alike[0] == mine

    def first_ending(self) -> Ending | None:
        """Hear of the first process that ends by an error; None while there is none."""
        endings = self._endings()
        if not endings:
            return None
        self._store.set(f"heard{self.rank}", "")
        return endings[0]

    def _endings(self) -> list[Ending]:
        keys = [f"ending{rank}" for rank in range(self.world_size)]
        return [Ending(*json.loads(self._store.get(key))) for key in keys if self._store.check([key])]


def launched() -> Launched | None:
    """The processes of this run; None where torchrun has not started several, or keeps no store for them."""
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True" or int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return None
    return Launched()


def is_first_here() -> bool:
    """Say whether this process is the first of the run on its machine."""
    return os.environ.get("LOCAL_RANK", os.environ.get("SLURM_LOCALID", "0")) == "0"
