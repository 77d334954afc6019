"""Tuning of glibc's malloc for training on a CPU; only the command line calls it."""

import ctypes
import os
import sys

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""Parameters of mallopt(3)."""

LARGEST = 32 * 2**20
"""Largest block in bytes that glibc serves from memory it kept; larger ones always come from the kernel."""

MOST = 2**31 - 1
"""Most bytes to keep, the largest value that mallopt takes."""

CHOSEN = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")
"""Environment variables by which a user tunes malloc; any of them turns this off."""


def tune_malloc() -> None:
    """Let glibc keep freed memory for the next step's tensors; with another C library this does nothing.

    By default it returns most of it to the kernel, which clears every page again when the next step allocates. That
    took a third of a step of a ResNet50 at 224 px on two cores while only the classifier trained.
    """
    if sys.platform != "linux" or any(name in os.environ for name in CHOSEN):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(TRIM_THRESHOLD, MOST)
        mallopt(MMAP_THRESHOLD, LARGEST)
