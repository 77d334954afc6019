"""Where a run comes from: when, by which command, from which code, on which machine."""

import hashlib
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emotion_lightning.errors import DataError
from emotion_lightning.runs.files import read_json

if TYPE_CHECKING:
    import torch

PROVENANCE = "provenance.json"
"""File in the folder of a run, with an entry for each time that it was started or resumed."""

FINISHED, EARLY = "finished", "stopped early"
"""How the last start of a run that came to its end has ended."""

PACKAGES = ("emotion_lightning", "lightning", "torch", "torchvision", "timm", "torchmetrics", "pillow")


def provenance() -> dict[str, Any]:
    """Everything about this process that its results may depend on, in plain types."""
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command_line(),
        "git_commit": git_commit(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "devices": _devices(),
        "versions": versions(),
    }


def command_line() -> str:
    """The command that started this process, as it can be pasted into a shell."""
    program, *args = sys.argv
    begun = ["python", "-m", Path(program).parent.name] if Path(program).name == "__main__.py" else [program]
    return shlex.join([*begun, *args])


def data_of_run(folder: Path) -> dict[str, Any] | None:
    """What identifies the data of the run in ``folder``; None if it does not say."""
    try:
        found = read_starts(folder)[-1]["data"]
    except (DataError, OSError, ValueError, LookupError):
        return None
    return found if isinstance(found, dict) and {"root", "fingerprint", "images"} <= found.keys() else None


def provenance_file(folder: Path) -> Path:
    """Where the starts of the run in ``folder`` are written; starts.json in a run of version 0.1."""
    former = folder / "starts.json"
    return former if former.is_file() and not (folder / PROVENANCE).is_file() else folder / PROVENANCE


def read_starts(folder: Path) -> list[dict[str, Any]]:
    """Read when and how the run in ``folder`` was started and resumed; nothing for a run made from Python.

    Raises:
        DataError: The file is damaged.
    """
    file = provenance_file(folder)
    try:
        found = read_json(file) if file.is_file() else []
    except ValueError as error:
        raise DataError(f"{file} is damaged") from error
    if not isinstance(found, list) or not all(isinstance(start, dict) for start in found):
        raise DataError(f"{file} is damaged: it holds no list of starts")
    return found


def versions() -> dict[str, str | None]:
    """Versions of the packages that results depend on."""
    return {package: _version(package) for package in PACKAGES}


def weights_hash(model: "torch.nn.Module") -> str:
    """SHA-256 over the weights, by which two measurements of the same model are known."""
    import torch

    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def git_commit(folder: Path = Path(__file__).parents[1]) -> str | None:
    """Commit that ``folder`` was checked out from, marked if files have changed since; None if it was not."""
    try:
        if not _git(folder, "ls-files", "."):
            return None  # installed inside the repository of another project
        commit = _git(folder, "rev-parse", "HEAD")
        return commit + (" (changed since)" if _git(folder, "status", "--porcelain", "--", ".") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *args: str) -> str:
    run = subprocess.run(["git", *args], cwd=folder, capture_output=True, text=True, check=True, timeout=10)
    return run.stdout.strip()


def _devices() -> list[str]:
    import torch  # which reading does without

    if torch.cuda.is_available():
        return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return [f"CPU, {torch.get_num_threads()} threads"]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:  # run from a checkout that is not installed
        return None
