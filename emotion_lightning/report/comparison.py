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
from emotion_lightning.options import differences, flatten
from emotion_lightning.report import charts
from emotion_lightning.report.chart import Chart
from emotion_lightning.report.page import environment
from emotion_lightning.report.results import PAGE
from emotion_lightning.report.run import SPLITS, Run, of_runs
from emotion_lightning.report.svg import svg
from emotion_lightning.report.verdict import RANKED, same_measured, verdict
from emotion_lightning.runs.files import ensure_writable, write_json, write_page

CUT = ("split_seed", "folds", "group_regex")
"""Options of the data that decide what is trained on and what is measured, beside the fold."""


@dataclass(frozen=True)
class Comparison:
    """Several runs, each under a name of its own.

    Args:
        runs: The runs by name.
        group_by: Option by whose value alone runs stand together; by default all that change learning.
    """

    runs: Mapping[str, Run]
    group_by: str | None = None

    @property
    def splits(self) -> list[str]:
        """Splits that all runs have measured."""
        return [split for split in SPLITS if all(split in run.results for run in self.runs.values())]

    @cached_property
    def values(self) -> dict[str, dict[str, Any]]:
        """Every option's value in each run."""
        flat = {name: dict(flatten(run.config)) for name, run in self.runs.items()}
        every = dict.fromkeys(option for values in flat.values() for option in values)
        return {option: {name: values.get(option) for name, values in flat.items()} for option in every}

    @property
    def options(self) -> dict[str, dict[str, Any]]:
        """Options that change learning and in which the runs differ, but for the seed, with each run's value."""
        found = differences({name: run.config for name, run in self.runs.items()})
        chosen = {self.group_by: self.values[self.group_by]} if self.group_by is not None else {}
        return {option: values for option, values in (found | chosen).items() if option != "seed_everything"}

    @cached_property
    def groups(self) -> list[list[str]]:
        """Names of runs that differ in nothing but the seed or the fold, or that share what they are grouped by.

        Raises:
            UsageError: No run has the option they are grouped by.
        """
        if self.group_by is not None and self.group_by not in self.values:
            raise UsageError(f"--group_by {self.group_by} is no option of these runs; give one of config.yaml")
        groups: dict[str, list[str]] = {}
        for name, run in self.runs.items():
            options: Any = [values[name] for values in self.options.values()] if run.config else name
            if self.group_by is not None:
                options = self.values[self.group_by][name]
            every = [run.results[split].metrics for split in self.splits]
            limited = [metrics["n"] if metrics["n"] < metrics.get("of", 0) else None for metrics in every]
            measured = [[metrics[key] for key in ("data", "tta")] for metrics in every], limited
            cut = [self.values.get(f"data.{option}", {}).get(name) for option in CUT]
            groups.setdefault(repr((options, measured, cut)), []).append(name)
        return list(groups.values())

    def ranked(self, split: str) -> list[list[str]]:
        """The groups, that of the highest mean macro F1 first."""
        return sorted(self.groups, key=lambda names: -self.spread(names, split).get(RANKED, (0.0,))[0])

    def label(self, names: Sequence[str]) -> str:
        """What a group of runs is called."""
        if len(names) == 1:
            return names[0]
        if self.group_by is not None:
            return f"--{self.group_by} {self.values[self.group_by][names[0]]}"
        return f"{names[0]} to {names[-1]}"

    def fold(self, name: str) -> int | None:
        """The fold that the run ``name`` was validated on."""
        data = self.runs[name].config.get("data", {})
        return data.get("fold") if data.get("folds") else None

    @property
    def folds(self) -> bool:
        """Whether any run has a fold."""
        return any(self.fold(name) is not None for name in self.runs)

    def several(self, names: Sequence[str], split: str) -> str:
        """Say how many runs, seeds and folds ``names`` are."""
        seeds = len({self.runs[name].results[split].metrics["seed"] for name in names})
        folds = len({self.fold(name) for name in names} - {None})
        counted = [f"{len(names)} runs", f"{seeds} seed{'s' * (seeds > 1)}"]
        return ", ".join(counted + [f"{folds} fold{'s' * (folds > 1)}"] * (folds > 0))

    def spread(self, names: Sequence[str], split: str) -> dict[str, tuple[float, float | None]]:
        """Mean and standard deviation of each metric over the runs ``names``; None as deviation of a single run."""
        every = [self.runs[name].results[split].metrics for name in names]
        return _spreads({name: [metrics[name] for metrics in every] for name in OVERALL})

    def classes(self, names: Sequence[str], split: str) -> dict[str, tuple[float, float | None]]:
        """Mean and standard deviation of each class's F1 over the runs ``names``."""
        every = [self.runs[name].results[split].metrics["per_class"] for name in names]
        return _spreads({label: [found.get(label, {}).get("f1") for found in every] for label in every[0]})

    def same_images(self, split: str) -> bool:
        """Whether all runs were measured on the same images, by their content."""
        found = {run.results[split].metrics.get("images") for run in self.runs.values()}
        return len(found) == 1 and None not in found

    def tests(self, split: str) -> Iterator[tuple[str, str, McNemar]]:
        """McNemar's exact test of each two runs that measured the same images with the same labels."""
        for first, second in combinations(self.runs, 2):
            ours, theirs = (self.runs[name].results[split] for name in (first, second))
            if same_measured(ours, theirs):
                right = [results.outputs.predicted == results.outputs.labels for results in (ours, theirs)]
                yield first, second, mcnemar(*right)

    def columns(self, split: str) -> list[str]:
        """Columns by whose groups all runs have measured a split."""
        every = [run.results[split].metrics.get("groups") or {} for run in self.runs.values()]
        return [column for column in every[0] if all(column in found for found in every)]

    def by(self, column: str, split: str) -> list[str]:
        """Groups of a column that any run has."""
        every = (run.results[split].metrics["groups"][column]["groups"] for run in self.runs.values())
        return list(dict.fromkeys(name for groups in every for name in groups))

    def robust(self, split: str) -> dict[str, dict[str, Any]]:
        """What the runs measured on corrupted images."""
        return {name: found for name, run in self.runs.items() if (found := run.results[split].robustness)}

    def verdict(self, split: str) -> str | None:
        """Say which group is best, and whether that is larger than chance; None where there is one group."""
        best, *others = self.ranked(split)
        if not others:
            return None
        results = [[self.runs[name].results[split] for name in names] for names in (best, others[0])]
        return verdict(self.label(best), results[0], self.label(others[0]), results[1])


def _spreads(found: Mapping[str, Sequence[float | None]]) -> dict[str, tuple[float, float | None]]:
    known = {name: [value for value in values if value is not None] for name, values in found.items()}
    return {
        name: (mean(values), stdev(values) if len(values) > 1 else None)
        for name, values in known.items()
        if values and len(values) == len(found[name])
    }


def write_comparison(
    folders: Sequence[Path], target: Path, group_by: str | None = None, option: str = "--output"
) -> Path:
    """Write a page that compares the runs in ``folders`` into ``target``; return it.

    Args:
        folders: The runs.
        target: Folder of index.html and comparison.json, which are replaced.
        group_by: As :class:`Comparison` takes it.
        option: What the user chooses another target by.

    Raises:
        UsageError: A run is given twice, or none has what they are grouped by.
        DataError: A run has no measurement, or the page cannot be written.
    """
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise UsageError("a run is given twice; give each once")
    ensure_writable(target, option)
    with of_runs(*folders):
        return _write(Comparison(_named(folders), group_by), target)


def spread_lines(folders: Sequence[Path]) -> list[str]:
    """Say the mean and the standard deviation of each group of runs on each split that all have measured."""
    with of_runs(*folders):
        comparison = Comparison(_named(folders))
        lines = []
        for split in comparison.splits:
            for names in comparison.ranked(split):
                found = comparison.spread(names, split)
                said = (f"{OVERALL[name]} {_plus_minus(*pair)}" for name, pair in found.items() if name != "loss")
                lines.append(f"{comparison.several(names, split)} on {split}: {', '.join(said)} (mean ± sd)")
        return lines


def _plus_minus(value: float, deviation: float | None) -> str:
    return f"{value:.4f}" + ("" if deviation is None else f" ± {deviation:.4f}")


def _write(comparison: Comparison, target: Path) -> Path:
    splits = comparison.splits
    if not splits:
        raise UsageError("the runs have no measured split in common; measure the same one of each by test or validate")
    rows = {split: [(names, comparison.spread(names, split)) for names in comparison.ranked(split)] for split in splits}
    tests = {split: list(comparison.tests(split)) for split in splits}
    write_json(
        target / "comparison.json",
        {
            "runs": {name: str(run.folder.resolve()) for name, run in comparison.runs.items()},
            "options": comparison.options,
            "groups": {
                split: [
                    {"runs": names, "mean_and_sd": spread, "f1_per_class": comparison.classes(names, split)}
                    for names, spread in found
                ]
                for split, found in rows.items()
            },
            "verdict": {split: comparison.verdict(split) for split in splits},
            "by_group": {
                split: {
                    column: {
                        name: run.results[split].metrics["groups"][column] for name, run in comparison.runs.items()
                    }
                    for column in comparison.columns(split)
                }
                for split in splits
            },
            "same_images": {split: comparison.same_images(split) for split in splits},
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
