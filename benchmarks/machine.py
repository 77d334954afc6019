"""The machine and the versions that figures belong to."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from emotion_lightning.runs.provenance import provenance

PEERS = ("fastai", "transformers")


def machine() -> dict[str, Any]:
    """When and on what this process runs."""
    found = provenance()
    found["versions"] |= {name: _version(name) for name in PEERS}
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return found | {"processor": _processor(), "cores": os.cpu_count(), "threads": torch.get_num_threads(), "gpu": gpu}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
