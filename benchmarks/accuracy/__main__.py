"""Train the configurations of a study on real faces, several seeds each, and say what each of them is worth.

python -m benchmarks.accuracy --root data/fer2013
python -m benchmarks.accuracy thaw --root data/fer2013

Without a name, all studies are trained in turn, which takes days. Runs of one thread each go side by side. Started
again, it goes on where it was: what was trained stays, a run that was interrupted loses at most an epoch. Results go
into benchmarks/accuracy/results/STUDY.json, all tables into benchmarks/ACCURACY.md.
"""

import argparse
import fcntl
import os
import signal
import sys
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path

from benchmarks.accuracy.faces import training_faces
from benchmarks.accuracy.page import write_tables
from benchmarks.accuracy.results import Results
from benchmarks.accuracy.study import Case, known_studies, read_study
from benchmarks.accuracy.training import Training
from emotion_lightning.errors import EmotionError, UsageError

RESULTS = Path(__file__).parent / "results"
TABLES = Path(__file__).parent.parent / "ACCURACY.md"


def main(args: Sequence[str] | None = None) -> None:
    """Train what a study lacks and write its results.

    Args:
        args: Arguments behind the program's name; by default those of the process.
    """
    options = _parser().parse_args(args)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        for name in options.studies or known_studies():
            study = read_study(name)
            results = Results(study, options.results / f"{study.name}.json")
            missing = [case for case in results.missing() if options.only is None or options.only in case.group]
            print(f"{study.title}: {len(missing)} of {len(study.cases())} runs are missing", flush=True)
            if missing and options.jobs:
                _train(missing, results, options.root, options.output / study.name, options.jobs)
            write_tables(study, options.results, options.tables)
    except EmotionError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_status)
    except KeyboardInterrupt:
        print("Interrupted; the same command goes on", file=sys.stderr)
        sys.exit(128 + 2)


def _train(cases: Sequence[Case], results: Results, root: Path, output: Path, jobs: int) -> None:
    """Train ``cases`` in turn, ``jobs`` at a time; the first failure ends them all."""
    output.mkdir(parents=True, exist_ok=True)
    with (output / ".lock").open("w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the trainings inherit it, so it tells of them as well
        except OSError:
            raise UsageError(f"{output}: the study is already running there, or one of its trainings is") from None
        trainings = [
            Training(case, training_faces(root, case.per_class, output), _folder(output, case), lock.fileno())
            for case in cases
        ]
        with ThreadPoolExecutor(jobs) as pool:
            tasks = [pool.submit(partial(_one, results), training) for training in trainings]
            try:
                done, _ = wait(tasks, return_when=FIRST_EXCEPTION)
                for task in done:
                    task.result()
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
                for training in trainings:
                    training.stop()


def _one(results: Results, training: Training) -> None:
    case = training.case
    found = training.run()
    results.add(case, found)
    print(
        f"{case.group}, {case.config}, seed {case.seed}: macro F1 {found['f1_macro']:.4f} at the end, "
        f"{found['best_f1_macro']:.4f} in epoch {found['best_epoch']}; {found['minutes']:.1f} min",
        flush=True,
    )


def _folder(output: Path, case: Case) -> Path:
    name = "".join(letter if letter.isalnum() or letter in "-." else "_" for letter in f"{case.group}/{case.config}")
    return output / name / f"seed_{case.seed}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.accuracy",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    known = ", ".join(known_studies())
    parser.add_argument("studies", metavar="STUDY", nargs="*", help=f"{known}, or a .yaml file; all by default")
    parser.add_argument("--root", type=Path, default=Path("data/fer2013"), help="folder of train/ and val/")
    parser.add_argument("--output", type=Path, default=Path("lightning_logs/accuracy"), help="folder of the runs")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the JSON files")
    parser.add_argument("--tables", type=Path, default=TABLES, help="file of the tables")
    parser.add_argument("--only", metavar="GROUP", help="train only groups with this in their name")
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count(), help="runs side by side; 0 only writes the tables; by default cores"
    )
    return parser


if __name__ == "__main__":
    main()
