"""The folder of all caches: where it is, and how it is kept within its bound."""

import hashlib
import os
import time
from contextlib import suppress
from pathlib import Path

from emotion_lightning.data.images.cache_file import FORMAT

FOLDER_VARIABLE = "EMOTION_LIGHTNING_CACHE"
"""Environment variable that names the folder of all caches."""

_ABANDONED = 3600.0  # seconds without a write, after which an unfinished file is what a kill left


def cache_folder() -> Path:
    """Return the folder named by ``EMOTION_LIGHTNING_CACHE``, by default ``emotion_lightning`` in the user's cache."""
    if given := os.environ.get(FOLDER_VARIABLE):
        return Path(given).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "emotion_lightning"


def cache_name(root: Path) -> str:
    """Name of the file for the images of ``root``, another for every format of caches and version of the decoders."""
    key = f"{os.path.abspath(root)}\0{FORMAT}".encode("utf-8", "surrogateescape")
    return f"decoded-{hashlib.sha256(key).hexdigest()[:32]}.cache"


def make_room(file: Path, room: int) -> None:
    """Remove the caches beside ``file`` that were used least recently until all together have at most ``room`` bytes.

    What killed runs left half written goes first. Whoever has a file open keeps its contents.
    """
    for left in file.parent.glob(".decoded-*.tmp"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > _ABANDONED:
                left.unlink()
    total, others = 0, []
    for path in file.parent.glob(f"decoded-{'[0-9a-f]' * 32}.cache"):
        with suppress(OSError):  # another run may have removed it
            facts = path.stat()
            total += facts.st_size
            others += [(facts.st_mtime_ns, facts.st_size, path)] if path != file else []
    for _, size, path in sorted(others):
        if total <= room:
            return
        with suppress(OSError):
            path.unlink()
            total -= size
            for findings in path.parent.glob(f"{path.stem}.*.npz"):
                findings.unlink()
