"""Runs side by side, each in a line: what its folder says without torch, so that it is there at once."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from emotion_lightning.errors import DataError
from emotion_lightning.options import differences, renamed
from emotion_lightning.runs.files import read_json
from emotion_lightning.runs.folder import CHECKPOINTS, RUNS, from_here
from emotion_lightning.runs.history import HISTORY, read_history
from emotion_lightning.runs.limited_yaml import read_mapping
from emotion_lightning.runs.newest import order
from emotion_lightning.runs.provenance import read_starts
from emotion_lightning.runs.temporary import is_alive

COLUMNS = ("run", "data", "macro F1", "what differs", "state")
SCORE = "f1_macro"


class Outline(NamedTuple):
    """What a run's small files say: its name, options, data, scores, and whether it has ended or is at work."""

    name: str
    config: Mapping[str, Any] = {}
    data: str = "-"
    score: str = "-"
    state: str = "-"


def runs_in(folder: Path) -> list[Path]:
    """Folders of the runs in ``folder``, or in its folder of runs, in the order in which they began."""
    inner = folder / RUNS
    places = (inner if inner.is_dir() else folder).iterdir()
    signs = ("config.yaml", HISTORY, CHECKPOINTS)
    return sorted((place for place in places if any((place / sign).exists() for sign in signs)), key=order)


def table(folders: Sequence[Path]) -> str:
    """Lay out a line for each run; of one whose files are damaged, it says which."""
    runs = [_outline(folder) for folder in folders]
    differing = differences({run.name: run.config for run in runs if run.config})
    rows = [COLUMNS, *((run.name, run.data, run.score, _values(run.name, differing), run.state) for run in runs)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    lines = ("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def _outline(folder: Path) -> Outline:
    try:
        path = folder / "config.yaml"
        config = renamed(read_mapping(path)) if path.is_file() else {}
        return Outline(folder.name, config, _data(config), *_score_and_state(folder, config))
    except DataError as error:
        return Outline(folder.name, state=str(error))
    except (AttributeError, TypeError, ValueError, LookupError):
        return Outline(folder.name, state="its config.yaml, provenance.json or metrics.json is damaged")


def _data(config: Mapping[str, Any]) -> str:
    if not config:  # of a run made from Python
        return "-"
    root = config["data"]["root"]
    return "built-in faces" if root is None else from_here(root)


def _score_and_state(folder: Path, config: Mapping[str, Any]) -> tuple[str, str]:
    history = read_history(folder)
    val = max(history.get(f"val/{SCORE}", {}).values(), default=_measured(folder, "val"))
    scores = {"val": val, "test": _measured(folder, "test")}
    score = ", ".join(f"{split} {score:.4f}" for split, score in scores.items() if score is not None)
    return score or "-", _state(folder, len(history.get("train/loss", {})), config.get("trainer", {}).get("max_epochs"))


def _measured(folder: Path, split: str) -> float | None:
    path = folder / "report" / split / "metrics.json"
    return read_json(path)[SCORE] if path.is_file() else None


def _state(folder: Path, trained: int, planned: int | None) -> str:
    start = (read_starts(folder) or [{}])[-1]
    if "ended" in start:
        return f"{start['ended']} after {trained} epochs"
    epochs = f"{trained} of {planned} epochs" if planned and planned > 0 else f"{trained} epochs"
    alive = is_alive(str(start.get("process")))
    if alive is None:  # of another machine, made from Python, or by a version that did not say
        return epochs
    return f"running, {epochs}" if alive else f"interrupted after {epochs}"


def _values(name: str, differing: Mapping[str, Mapping[str, Any]]) -> str:
    """Values of a run, each by the end of its option's name; what it lacks is left out."""
    found = {option.rpartition(".")[2]: values.get(name) for option, values in differing.items()}
    return ", ".join(f"{option} {value}" for option, value in found.items() if value is not None) or "-"
