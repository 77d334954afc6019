"""Files that are not whole yet: their names say whose they are, and those that killed processes left are swept."""

import hashlib
import os
import platform
import re
import shutil
import time
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path

FOREIGN = 24 * 3600.0
"""Seconds after which what a process on another machine began, of which nothing can be known, counts as left."""

_OWNED = re.compile(r"\.([0-9a-f]{8})\.(\d+)\.(\d*)\.\w+\Z")
_TEMPORARY = re.compile(r"\..*" + _OWNED.pattern.replace(r"\w+", "tmp"), re.DOTALL)


def temporary_beside(path: Path) -> Path:
    """Name what is to become ``path``, in its folder, since a rename must not cross file systems."""
    return path.with_name(f".{path.name}.{owner()}.tmp")


def owner() -> str:
    """Name this process among all that may write to the same folder: its machine, its number and when it started."""
    pid = os.getpid()
    return f"{_machine()}.{pid}.{_start(pid) or ''}"


def is_left(path: Path) -> bool:
    """Say whether the process whose :func:`owner` is in the name of ``path`` is gone.

    Raises:
        OSError: There is no such file any more.
    """
    found = _OWNED.search(path.name)
    alive = is_alive(".".join(found.groups())) if found else None
    if alive is not None:
        return not alive
    return time.time() - path.lstat().st_mtime > FOREIGN


def is_alive(process: str) -> bool | None:
    """Say whether the process of this :func:`owner` runs; None where this machine cannot know."""
    found = _OWNED.search(f".{process}.tmp")
    if not found or found[1] != _machine() or os.name == "nt":  # Windows cannot tell without stopping it
        return None
    return _runs(int(found[2]), found[3])


def is_of(process: str, pid: int) -> bool:
    """Say whether ``process``, an :func:`owner`, is that of this number on this machine."""
    found = _OWNED.search(f".{process}.tmp")
    return found is not None and (found[1], found[2]) == (_machine(), str(pid))


def sweep(folder: Path) -> None:
    """Remove the temporary files and folders in ``folder`` that killed processes left."""
    with suppress(OSError):
        _remove_left(folder.iterdir())


def sweep_below(folder: Path) -> None:
    """Sweep ``folder`` and all folders in it."""
    with suppress(OSError):
        _remove_left(folder.rglob(".*.tmp"))


@cache
def sweep_once(folder: Path) -> None:
    """Sweep ``folder`` before this process first writes there."""
    sweep(folder)


def _remove_left(paths: Iterable[Path]) -> None:
    for path in [path for path in paths if _TEMPORARY.match(path.name)]:
        with suppress(OSError):
            if not is_left(path):
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()


def _runs(pid: int, start: str) -> bool:
    """Say whether a process runs that has this number and started then; on systems that tell no start, the number."""
    now = _start(pid)
    if now is not None and start:
        return now == start
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # it is another user's
        return True
    return not start or now is not None


def _start(pid: int) -> str | None:
    """When a process started, in ticks since the machine did; None where it is gone, or the system is not Linux."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            state, *values = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    return None if state == "Z" else values[18]


@cache
def _machine() -> str:
    """Name the machine, since its start, and the container, in which a process has its number."""
    facts = [platform.node()]
    with suppress(OSError), open("/proc/sys/kernel/random/boot_id", encoding="utf-8") as file:
        facts += [file.read(), os.readlink("/proc/self/ns/pid")]
    return hashlib.sha256("\0".join(facts).encode()).hexdigest()[:8]
