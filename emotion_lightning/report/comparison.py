"""Several runs on one page: what they scored, how they differ, and whether the difference is larger than chance."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from markupsafe import Markup

from emotion_lightning.errors import UsageError
from emotion_lightning.evaluation.metrics import OVERALL
from emotion_lightning.evaluation.significance import McNemar, mcnemar
from emotion_lightning.options import differences
from emotion_lightning.report import charts
from emotion_lightning.report.chart import Chart
from emotion_lightning.report.page import PAGE, environment
from emotion_lightning.report.results import SplitResults
from emotion_lightning.report.run import SPLITS, Run, of_runs
from emotion_lightning.report.svg import svg
from emotion_lightning.runs.files import ensure_writable, write_json, write_page


@dataclass(frozen=True)
class Comparison:
    """Several runs, each under a name of its own.

    Args:
        runs: The runs by name.
    """

    runs: Mapping[str, Run]

    @property
    def splits(self) -> list[str]:
        """Splits that all runs have measured."""
        return [split for split in SPLITS if all(split in run.results for run in self.runs.values())]

    @cached_property
    def options(self) -> dict[str, dict[str, Any]]:
        """Options that change learning and in which the runs differ, but for the seed, with each run's value."""
        found = differences({name: run.config for name, run in self.runs.items()})
        return {option: values for option, values in found.items() if option != "seed_everything"}

    @property
    def groups(self) -> list[list[str]]:
        """Names of runs that differ in nothing but the seed, together."""
        groups: dict[str, list[str]] = {}
        for name, run in self.runs.items():
            options = [values[name] for values in self.options.values()] if run.config else name
            every = [run.results[split].metrics for split in self.splits]
            limited = [metrics["n"] if metrics["n"] < metrics.get("of", 0) else None for metrics in every]
            measured = [[metrics[key] for key in ("data", "tta")] for metrics in every], limited
            groups.setdefault(repr((options, measured)), []).append(name)
        return list(groups.values())

    def seeds(self, names: Sequence[str], split: str) -> set[int]:
        """Seeds of the runs ``names``."""
        return {self.runs[name].results[split].metrics["seed"] for name in names}

    def spread(self, names: Sequence[str], split: str) -> dict[str, tuple[float, float | None]]:
        """Mean and standard deviation of each metric over the runs ``names``; None as deviation of a single run."""
        every = [self.runs[name].results[split].metrics for name in names]
        found = {name: [metrics[name] for metrics in every] for name in OVERALL}
        return {
            name: (mean(values), stdev(values) if len(values) > 1 else None)
            for name, values in found.items()
            if None not in values
        }

    def tests(self, split: str) -> Iterator[tuple[str, str, McNemar]]:
        """McNemar's exact test of each two runs that measured the same images with the same labels."""
        for first, second in combinations(self.runs, 2):
            ours, theirs = (self.runs[name].results[split] for name in (first, second))
            if _same_images(ours, theirs):
                right = [results.outputs.predicted == results.outputs.labels for results in (ours, theirs)]
                yield first, second, mcnemar(*right)


def _same_images(ours: SplitResults, theirs: SplitResults) -> bool:
    """Say whether two measurements are of the same images, known by their content, with the same labels."""
    known = ours.metrics.get("images") is not None and ours.metrics["images"] == theirs.metrics.get("images")
    if not known or (ours.names, ours.class_names) != (theirs.names, theirs.class_names):
        return False
    return bool((ours.outputs.labels == theirs.outputs.labels).all())


def write_comparison(folders: Sequence[Path], target: Path) -> Path:
    """Write a page that compares the runs in ``folders`` into ``target``; return it.

    Raises:
        UsageError: A run is given twice.
        DataError: A run has no measurement, or the page cannot be written.
    """
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise UsageError("a run is given twice; give each once")
    ensure_writable(target, "--output")
    with of_runs(*folders):
        return _write(Comparison(_named(folders)), target)


def _write(comparison: Comparison, target: Path) -> Path:
    splits = comparison.splits
    if not splits:
        raise UsageError("the runs have no measured split in common; measure the same one of each by test or validate")
    rows = {split: [(names, comparison.spread(names, split)) for names in comparison.groups] for split in splits}
    tests = {split: list(comparison.tests(split)) for split in splits}
    write_json(
        target / "comparison.json",
        {
            "runs": {name: str(run.folder.resolve()) for name, run in comparison.runs.items()},
            "options": comparison.options,
            "groups": {
                split: [{"runs": names, "mean_and_sd": spread} for names, spread in found]
                for split, found in rows.items()
            },
            "mcnemar": {
                split: [{"first": a, "second": b, **test._asdict()} for a, b, test in found]
                for split, found in tests.items()
            },
        },
    )
    template = environment().get_template("comparison.html")
    drawn = {name: Markup(svg(chart, name)) for name, chart in _curves(comparison.runs)}
    return write_page(target / PAGE, template.render(comparison=comparison, rows=rows, tests=tests, charts=drawn))


def _named(folders: Sequence[Path]) -> dict[str, Run]:
    """Name each run by as much of the end of its path as tells it from the others."""
    parts = [folder.resolve().parts for folder in folders]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-length:]) for part in parts]
        if len(set(names)) == len(names):
            break
    return {name: Run(folder) for name, folder in zip(names, folders, strict=True)}


def _curves(runs: Mapping[str, Run]) -> Iterator[tuple[str, Chart]]:
    for title, tag in (
        ("validation loss", "val/loss"),
        ("validation accuracy", "val/accuracy"),
        ("validation macro F1", "val/f1_macro"),
    ):
        lines = {name: run.history[tag] for name, run in runs.items() if run.history.get(tag)}
        if lines:
            yield title.replace(" ", "_"), charts.training_curve(title, lines, {})
