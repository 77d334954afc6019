"""Several runs by one command: ``fit`` with a run for each seed or fold, ``test`` of several checkpoints."""

import os
import signal
import subprocess
import sys
from argparse import ArgumentError, ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from types import FrameType

from emotion_lightning.errors import EmotionError, UsageError
from emotion_lightning.options import PROGRAM
from emotion_lightning.report.ensemble import read_member, write_ensemble
from emotion_lightning.report.run import Run, of_runs
from emotion_lightning.runs.config import load_checkpoint
from emotion_lightning.runs.folder import RUNS, pasted, run_of, shared_name
from emotion_lightning.runs.newest import checkpoint_named
from emotion_lightning.runs.provenance import read_starts
from emotion_lightning.runs.temporary import is_of
from emotion_lightning.runtime.ranks import is_first_rank
from emotion_lightning.runtime.signals import SIGNALS

MODULE = "emotion_lightning"
ROOT = "trainer.default_root_dir"
ALONE = ("ckpt_path", "resume", "dry_run", "lr_find")
"""Options of one run, which several cannot have."""


class Stopped(EmotionError):
    """One of the commands has ended with a status of its own, and has said why."""

    def __init__(self, status: int) -> None:
        super().__init__("")
        self.exit_status = status


def run_study(args: Sequence[str]) -> Sequence[str] | None:
    """Run several commands in place of one whose ``args`` ask for it; return the arguments where one is to be run.

    Each runs in a process of its own, so that it gives what it gives alone, whatever was run before.

    Raises:
        UsageError: Options do not go together.
        DataError: The results cannot be compared or averaged.
    """
    if {"-h", "--help"} & set(args):
        return args
    if any(arg.startswith("--print_config") for arg in args):
        given, rest = _given(args, seeds="*", folds=None, ckpt_path="*")
        first = [f"--ckpt_path={given.ckpt_path[0]}"] if given.ckpt_path else []
        return [*rest, *first]  # of one of the runs, without what makes them differ
    if args[0] == "fit" and any(arg.partition("=")[0] in ("--seeds", "--folds") for arg in args):
        _fit_several(args)
    elif args[0] == "test" and len(checkpoints := _given(args, ckpt_path="+")[0].ckpt_path or ()) > 1:
        _test_several(args, checkpoints)
    else:
        return args
    return None


def _given(args: Sequence[str], **nargs: str | None) -> tuple[Namespace, list[str]]:
    """Take options out of ``args``; return their values, None for one that is not given, and the other arguments."""
    parser = ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for name, number in nargs.items():
        parser.add_argument(f"--{name}", nargs=number)
    try:
        return parser.parse_known_args(list(args))
    except ArgumentError as error:
        raise UsageError(f"{error.argument_name}: {error.message}") from error


def _fit_several(args: Sequence[str]) -> None:
    given, rest = _given(args, seeds="*", folds=None, name=None)
    own = {*ALONE, "data.folds", "data.fold"} | ({"seed_everything"} if given.seeds else set())
    if taken := sorted(own & _typed(rest)):
        raise UsageError(f"`{taken[0]}` is of a single run: leave it out, or --seeds and --folds")
    variants = list(_variants(given))
    root = Path(vars(_given(args, **{ROOT: None})[0])[ROOT] or ".")
    found: list[Path] = []
    for number, (words, options) in enumerate(variants, start=1):
        print(f"\nRun {number} of {len(variants)}: {words}", file=sys.stderr, flush=True)
        before = _runs(root)
        status, process = run_command([*rest, *options])
        if status:
            done = f"finished: {', '.join(map(pasted, found))}; " if found else ""
            print(f"{done}the others go on with the seeds or folds that are left", file=sys.stderr)
            raise Stopped(status)
        found += [run for run in sorted(_runs(root) - before) if _is_begun_by(process, run)]
    if is_first_rank() and len(found) > 1:
        _compare(found, root)
    elif is_first_rank() and len(variants) > 1:
        print(f"No page compares the runs, as their folders are not in {root / RUNS}", file=sys.stderr)


def _typed(args: Sequence[str]) -> set[str]:
    """Names of the options in ``args``."""
    return {arg.partition("=")[0][2:] for arg in args if arg.startswith("--")}


def _variants(given: Namespace) -> Iterator[tuple[str, list[str]]]:
    """Yield what each run is in words, and its options, its name among them if the runs have one."""
    seeds: list[str | None] = [None] if given.seeds is None else given.seeds
    if not seeds or not all(seed is None or seed.isdecimal() for seed in seeds) or len(set(seeds)) < len(seeds):
        raise UsageError("--seeds takes different whole numbers, such as --seeds 1 2 3")
    if given.folds is not None and not (given.folds.isdecimal() and int(given.folds) >= 2):
        raise UsageError(f"--folds {given.folds} is no number of folds, such as --folds 5")
    folds: Sequence[int | None] = [None] if given.folds is None else range(int(given.folds))
    for seed, fold in product(seeds, folds):
        seeded = [] if seed is None else ["--seed_everything", seed]
        folded = [] if fold is None else ["--data.folds", given.folds, "--data.fold", str(fold)]
        words = [f"seed {seed}"] * (seed is not None) + [f"fold {fold} of {given.folds}"] * (fold is not None)
        marks = [f"-seed{seed}"] * (seed is not None) + [f"-fold{fold}"] * (fold is not None)
        named = [] if given.name is None else ["--name", given.name + "".join(marks)]
        yield ", ".join(words), [*seeded, *folded, *named]


def _runs(root: Path) -> set[Path]:
    """Folders of the runs below ``root`` that have begun to train."""
    return {file.parent for file in (root / RUNS).glob("*/config.yaml")}


def _is_begun_by(process: int, run: Path) -> bool:
    """Say whether a process has begun ``run``, and not a command that is at work beside this one."""
    return any(is_of(str(start.get("process")), process) for start in read_starts(run)[:1])


def _compare(runs: Sequence[Path], root: Path) -> None:
    from emotion_lightning.report.comparison import spread_lines, write_comparison  # what draws is slow to import

    page = write_comparison(runs, root / "comparison" / shared_name(runs), option=f"--{ROOT}")
    print("\n".join(["", *spread_lines(runs), f"Wrote {page}"]))
    best = [pasted(run / "checkpoints/best.ckpt") for run in runs]
    with of_runs(runs[0]):
        run = Run(runs[0])
        tests = [f"test --ckpt_path {' '.join(best)}"] * ("test" in (run.audit or {}).get("balance", {}))
        folded = run.audit is not None and run.config["data"].get("folds")  # built-in faces have no audit
        if commands := [*tests, *[f"review {pasted(runs[0])}"] * bool(folded)]:
            print("\n  ".join(["\nNext:", *(f"{PROGRAM} {command}" for command in commands)]))


def _test_several(args: Sequence[str], checkpoints: Sequence[str]) -> None:
    _, rest = _given(args, ckpt_path="+")
    checkpoints = [checkpoint_named(path) for path in checkpoints]
    if ROOT in _typed(rest):
        raise UsageError(f"`{ROOT}`: each of several checkpoints is measured in the folder of its run")
    if len({Path(path).resolve() for path in checkpoints}) < len(checkpoints):
        raise UsageError("a checkpoint is given twice; give each once")
    _refuse_unlike(checkpoints)
    members = {}
    for path in checkpoints:
        print(f"\n{path}", file=sys.stderr, flush=True)
        status, _ = run_command([*rest, "--ckpt_path", path])
        if status:
            raise Stopped(status)
        if is_first_rank():
            members[path] = read_member(run_of(path), path)
    if is_first_rank():
        print(write_ensemble(members, Path("ensemble") / shared_name([run_of(path) for path in checkpoints])))


def _refuse_unlike(checkpoints: Sequence[str]) -> None:
    """Refuse checkpoints whose probabilities are not of the same classes and of images of the same size."""
    first: dict[str, object] = {}
    for path in checkpoints:
        checkpoint = load_checkpoint(path)
        data = checkpoint.get("datamodule_hyper_parameters", {})
        now = {
            "classes": list(checkpoint["hyper_parameters"]["class_names"]),
            "images of side": data.get("image_size"),
        }
        for what, value in now.items():
            if first.setdefault(what, value) != value:
                raise UsageError(
                    f"{checkpoints[0]} has {what} {first[what]}, {path} has {value}: their probabilities cannot be "
                    "averaged; test each alone"
                )


def run_command(args: Sequence[str]) -> tuple[int, int]:
    """Run a command of this program in a process of its own; return its status and its number.

    Raises:
        Stopped: A signal came, which that process got first, so that it saved what it had.
        UsageError: torchrun has started this process, whose store serves one run alone.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ:
        raise UsageError(
            "several runs or checkpoints need a torchrun each: give one seed, fold or checkpoint at a time"
        )
    received: list[int] = []
    with subprocess.Popen([sys.executable, "-m", MODULE, *args]) as process:

        def pass_on(number: int, frame: FrameType | None) -> None:
            received.append(number)
            process.send_signal(number)  # of a terminal's Ctrl-C it takes the second as the first

        heard = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]  # not under nohup
        before = {number: signal.signal(number, pass_on) for number in heard}
        try:
            process.wait()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
    status = process.returncode if process.returncode >= 0 else 128 - process.returncode
    if received:
        raise Stopped(status)
    return status, process.pid
