"""Whether kills lose anything: a run is killed at random moments and resumed until it ends, again and again.

python -m benchmarks.kills [--kills 200] [--temporary FOLDER]

Its weights and figures are compared with those of a run that nobody killed, and after each kill the checkpoints are
read. Audits and reports are killed as well. Signals go to the process alone or to its group, by turns.
"""

import argparse
import csv
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from benchmarks.drawn_faces import write_faces
from emotion_lightning.data.images.cache import CACHE_VARIABLE
from emotion_lightning.errors import EmotionError
from emotion_lightning.runs.config import load_checkpoint as load_named

OPTIONS = (
    *("--model.backbone", "test_resnet", "--model.pretrained", "false", "--model.hidden_features", "16"),
    *("--data.image_size", "32", "--data.batch_size", "8", "--data.num_workers", "1", "--resume", "auto"),
    *("--unfreeze.schedule", "{0: classifier_only, 1: layer4, 2: all_layers}", "--trainer.max_epochs", "4"),
    *("--checkpoint.every_n_minutes", "0.01", "--trainer.enable_progress_bar", "false"),
)
STATES = ("state_dict", "optimizer_states", "lr_schedulers", "loops", "callbacks")
EVERY = 3
"""Of so many runs one is followed by an audit and a report, which are killed as well."""

TIMES = ("seconds", "per_second")
"""What ends the names of figures that two runs do not share."""


@dataclass
class Found:
    """What was seen, in words for each fault."""

    kills: int = 0
    runs: int = 0
    unreadable: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    stray: list[str] = field(default_factory=list)
    different: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


class Victim:
    """Commands that are killed, and what they leave in ``folder``."""

    def __init__(self, folder: Path, temporary: Path, seed: int) -> None:
        self.folder, self.temporary, self.found = folder, temporary, Found()
        self.runs, self.random = folder / "lightning_logs", random.Random(seed)
        write_faces(folder / "faces", 96, 48)
        self.environment = os.environ | {CACHE_VARIABLE: str(folder / "cache"), "TMPDIR": str(temporary)}

    def start(self, *args: str) -> subprocess.Popen[str]:
        """Start a command in a group of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "emotion_lightning", *args],
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def seconds_of(self, *args: str) -> float:
        """Run a command to its end and return how long it took."""
        begun = time.perf_counter()
        process = self.start(*args)
        said = process.communicate()[1]
        if process.returncode:
            raise SystemExit(f"{' '.join(args)} ended with {process.returncode}: {said}")
        return time.perf_counter() - begun

    def is_killed(self, seconds: float, *args: str) -> bool:
        """Start a command and kill it at a random moment within ``seconds``; say whether it was still at work."""
        process = self.start(*args)
        try:
            said = process.communicate(timeout=self.random.uniform(0.15, 0.7) * seconds)[1]
        except subprocess.TimeoutExpired:
            if self.found.kills % 2:
                process.kill()
            else:
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            self.found.kills += 1
            return True
        if process.returncode:
            self.found.failed.append(f"{' '.join(args)} ended with {process.returncode}: {said.strip()[-300:]}")
        return False

    def fit(self, name: str) -> tuple[str, ...]:
        """The command that begins the run of this name, or goes on with it."""
        faces = str(self.folder / "faces")
        return ("fit", "--data.root", faces, *OPTIONS, "--name", name, "--trainer.default_root_dir", str(self.folder))

    def run(self, name: str, seconds: float, most: int) -> bool:
        """Kill a run until it ends, or until there were ``most`` kills; say whether it has ended."""
        best = None
        while self.is_killed(seconds, *self.fit(name)):
            best = self.check(name, best)
            if self.found.kills >= most:
                return False
        self.check(name, best)
        self.found.runs += 1
        return True

    def check(self, name: str, best: float | None) -> float | None:
        """Read the checkpoints of a run; return the score of the best, which is not to fall."""
        folder = self.runs / name / "checkpoints"
        for file in folder.glob("*.ckpt"):
            try:
                load_checkpoint(file)
            except EmotionError as error:
                self.found.unreadable.append(str(error))
        score = _score(folder / "best.ckpt")
        if best is not None and (score is None or score < best):
            self.found.lost.append(f"{name}: the best had {best:.4f}, then {score}")
        return score

    def kill_tools(self, run: Path, seconds: Sequence[float]) -> None:
        """Kill an audit and a report, and run each once to its end, which is to leave nothing beside its files."""
        audit = ("audit", "--data.root", str(self.folder / "faces"), "--output", str(self.folder / "audit"))
        for args, whole in zip((audit, ("report", str(run))), seconds, strict=True):
            for file in (self.folder / "cache").glob("*") if self.found.kills % 3 == 0 else ():
                file.unlink()  # so that the audit writes it anew
            self.is_killed(whole, *args)
            self.seconds_of(*args)
            self.look_for_strays(f"after {args[0]}")

    def look_for_strays(self, when: str) -> None:
        """Note files that are of no finished command."""
        for folder in (self.folder, self.temporary):
            for path in folder.rglob("*"):
                if path.name.startswith(".") or path.suffix == ".tmp":
                    self.found.stray.append(f"{when}: {path}")

    def compare(self, whole: str, name: str) -> None:
        """Compare what a killed run has left with what the whole one has."""
        for checkpoint in ("last.ckpt", "best.ckpt"):
            ours, theirs = (load_checkpoint(self.runs / run / "checkpoints" / checkpoint) for run in (name, whole))
            self.found.different += [f"{name}: {checkpoint}: {key}" for key in _different(ours, theirs)]
        ours, theirs = (list(_figures(self.runs / run / "history.csv")) for run in (name, whole))
        if ours != theirs:
            self.found.different.append(f"{name}: history.csv")
        if not (self.runs / name / "report/index.html").is_file():
            self.found.different.append(f"{name}: no report")


def load_checkpoint(file: Path) -> dict[str, Any]:
    """Load all that a resume would."""
    return load_named(str(file), STATES)


def _score(best: Path) -> float | None:
    try:
        return next(
            float(state["best_score"]) for state in load_checkpoint(best)["callbacks"].values() if "best_score" in state
        )
    except (EmotionError, StopIteration):
        return None


def _different(ours: dict[str, Any], theirs: dict[str, Any]) -> Iterator[str]:
    """Names of weights and optimizer states that are not equal to the bit."""
    for name, value in theirs["state_dict"].items():
        if not torch.equal(value, ours["state_dict"][name]):
            yield name
    for one, other in zip(_tensors(ours["optimizer_states"]), _tensors(theirs["optimizer_states"]), strict=True):
        if not torch.equal(one, other):
            yield "an optimizer state"


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict | list | tuple):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _tensors(each)


def _figures(history: Path) -> Iterator[dict[str, str]]:
    with history.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            yield {name: value for name, value in row.items() if not name.endswith(TIMES)}


def kill(folder: Path, temporary: Path, kills: int, seed: int) -> Found:
    """Kill ``kills`` times, and return what was found."""
    victim = Victim(folder, temporary, seed)
    seconds = victim.seconds_of(*victim.fit("whole"))
    print(f"a run takes {seconds:.0f} s", flush=True)
    whole, number = victim.runs / "whole", 0
    audit = victim.seconds_of("audit", "--data.root", str(folder / "faces"), "--output", str(folder / "audit"))
    report = victim.seconds_of("report", str(whole))
    while victim.found.kills < kills:
        name = f"killed{(number := number + 1)}"
        if victim.run(name, seconds, kills):
            victim.look_for_strays(f"after {name}")
            victim.compare("whole", name)
            if victim.found.runs % EVERY == 0:
                victim.kill_tools(victim.runs / name, (audit, report))
        print(f"{victim.found.kills} kills, {victim.found.runs} runs ended", flush=True)
    return victim.found


def main(args: Sequence[str] | None = None) -> None:
    """Kill, and print what was found; end with 1 if anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--temporary", type=Path, help="Folder for TMPDIR, such as one on another file system.")
    given = parser.parse_args(args)
    with TemporaryDirectory() as folder, TemporaryDirectory(dir=given.temporary) as temporary:
        found = kill(Path(folder), Path(temporary), given.kills, given.seed)
    print(f"{found.kills} kills, {found.runs} runs resumed to their end")
    for name in ("unreadable", "lost", "stray", "different", "failed"):
        faults = getattr(found, name)
        print(f"{name}: {len(faults)}", *faults[:20], sep="\n  ")
    raise SystemExit(any((found.unreadable, found.lost, found.stray, found.different, found.failed)))


if __name__ == "__main__":
    main()
