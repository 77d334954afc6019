"""The report of one run: a page that needs no network, its charts as PNG files, and its metrics as JSON."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from emotion_lightning.errors import DataError, EmotionError
from emotion_lightning.evaluation.metrics import OVERALL
from emotion_lightning.report import charts
from emotion_lightning.report.baseline import Baseline
from emotion_lightning.report.chart import Chart
from emotion_lightning.report.conditions import gap_said, mean_of, robustness_chart
from emotion_lightning.report.duration import duration
from emotion_lightning.report.elsewhere import elsewhere
from emotion_lightning.report.headline import class_intervals, coached, headline, options_marked, worst_class
from emotion_lightning.report.results import FOLDER, PAGE, SplitResults
from emotion_lightning.report.run import Run, of_runs
from emotion_lightning.report.svg import png, svg
from emotion_lightning.runs.files import atomic_write, read_json, write_json, write_page
from emotion_lightning.runs.history import History
from emotion_lightning.schedule import trainable_stages

REPORT, AUDIT = "report.json", "audit.html"
TITLES = {"test": "Test", "val": "Validation", "train": "Training"}
CURVES = {
    "loss": {"train, mixed": "train/loss", "validation": "val/loss"},
    "accuracy": {"train, mixed": "train/accuracy_dominant", "validation": "val/accuracy"},
    "macro F1": {"train, mixed": "train/f1_macro_dominant", "validation": "val/f1_macro"},
}
TIMES = {
    "seconds of an epoch": {"train": "train/epoch_seconds", "validation": "val/epoch_seconds"},
    "images per second": {"train": "train/images_per_second", "validation": "val/images_per_second"},
    "gradient norm before clipping": {"train": "train/gradient_norm"},
}


def write_report(folder: Path, baseline: Baseline, on: Path | None = None) -> Path:
    """Write the report of the run in ``folder``; return its page.

    Args:
        folder: The run's folder.
        baseline: What the run is compared with.
        on: Folder of the results on other data; the report is then of these and written there, and that of the run
            stays, but for a link to it.

    Raises:
        DataError: Nothing was measured, a file is damaged, or the report cannot be written.
    """
    run, target = Run(folder, on), on or folder / FOLDER
    with of_runs(folder):
        comparisons, problems = _compare(run, baseline)
        drawn = _charts(run, baseline)
        pictures = {name: png(chart) for name, chart in drawn.items()}
        summary, text = _summary(run, baseline, comparisons), _page(run, comparisons, problems, drawn)
        for name, picture in pictures.items():
            with atomic_write(target / f"{name}.png") as temporary:
                temporary.write_bytes(picture)
        write_json(target / REPORT, summary)
    page = write_page(target / PAGE, text)
    if on is not None:
        _link(folder)
    return page


def _charts(run: Run, baseline: Baseline) -> dict[str, Chart]:
    drawn = dict(_training_charts(run, baseline))
    for split, results in run.results.items():
        drawn |= {f"{split}_{name}": chart for name, chart in _split_charts(results)}
    return drawn


def _page(run: Run, comparisons: Mapping[str, Any], problems: Sequence[str], drawn: Mapping[str, Chart]) -> str:
    template = environment().get_template("page.html")
    first = next(iter(run.results.values()))
    audit = run.folder / AUDIT
    return template.render(
        run=run,
        first=first,
        headline=headline(run, first),
        worst=worst_class(first),
        advice=[] if run.on else coached(run),
        class_intervals=class_intervals,
        audit=f"{'../' * (2 if run.on else 1)}{AUDIT}" if audit.is_file() else "",
        comparisons=comparisons,
        elsewhere=elsewhere(run),
        charts={name: Markup(svg(chart, name)) for name, chart in drawn.items()},
        bias_warnings=_bias_warnings(run),
        problems=problems,
        config=yaml.safe_dump(run.config, sort_keys=False, allow_unicode=True) if run.config else "",
    )


def _link(folder: Path) -> None:
    """Write the page of a run again, which links those on other data; all other files stay."""
    try:
        run, baseline = Run(folder), _baseline_of(folder / FOLDER / REPORT)
        text = _page(run, *_compare(run, baseline), _charts(run, baseline))
    except (EmotionError, OSError, ValueError, KeyError):  # it has no page, or no longer what that was written from
        return
    write_page(folder / FOLDER / PAGE, text)


def _baseline_of(report: Path) -> Baseline:
    """What a report was compared with when it was last written."""
    found = read_json(report)["baseline"]
    return Baseline(**found | {"predictions": found["predictions"] and Path(found["predictions"])})


def environment() -> Environment:
    """Templates of the pages: what they are given is escaped, and what they lack is an error."""
    made = Environment(loader=PackageLoader(__package__, "."), autoescape=True, undefined=StrictUndefined)
    made.trim_blocks = made.lstrip_blocks = True
    made.globals.update(titles=TITLES, overall=OVERALL, gap_said=gap_said, mean_of=mean_of)
    made.filters |= {
        "number": _number,
        "duration": duration,
        "options": options_marked,
        "capitalize_first": _capitalized,
    }
    return made


def _compare(run: Run, baseline: Baseline) -> tuple[dict[str, list[dict[str, Any]]], list[str]]:
    """Compare each split with the baseline; if it goes with none, say why."""
    rows: dict[str, list[dict[str, Any]]] = {}
    problems = []
    for split, results in run.results.items():
        try:
            rows[split] = baseline.compare(results)
        except DataError as error:  # predictions of one split are not those of another
            rows[split] = []
            problems.append(str(error))
    return rows, [] if any(rows.values()) else problems


def _summary(run: Run, baseline: Baseline, comparisons: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "run": str(run.folder.resolve()),
        "bias_warnings": _bias_warnings(run),
        "best_epoch": run.best_epoch,
        "baseline": asdict(baseline) | {"predictions": baseline.predictions and str(baseline.predictions)},
        "results": {
            split: results.metrics | {"against_baseline": comparisons[split]} for split, results in run.results.items()
        },
        "robustness": {
            split: {name: value for name, value in found.items() if name != "sheet"}
            for split, results in run.results.items()
            if (found := results.robustness)
        },
        "elsewhere": elsewhere(run),
        "history": run.history,
        "starts": run.starts,
    }


def _bias_warnings(run: Run) -> list[str]:
    """Why metrics of the report are too good, or not of everything; those of the test split first."""
    found = [
        (split, text)
        for split, results in run.results.items()
        for text in (*results.metrics["bias_warnings"], *results.metrics.get("notes", ()))
    ]
    return [*_mixed(run), *(f"{TITLES[split]} split: {text}" for split, text in found)]


def _mixed(run: Run) -> list[str]:
    """Warn if the splits were measured with different models."""
    models = {(results.metrics.get("weights"), results.metrics["tta"]) for results in run.results.values()}
    if len(models) == 1:
        return []
    return [
        "The splits were measured with different checkpoints or test-time augmentation: see the summary's last rows."
    ]


def _training_charts(run: Run, baseline: Baseline) -> Iterator[tuple[str, Chart]]:
    goals = {"accuracy": baseline.accuracy, "macro F1": baseline.f1}
    for title, names in (CURVES | TIMES).items():
        if lines := _lines(run.history, names):
            best = run.best_epoch if title in CURVES else None
            yield _slug(title), charts.training_curve(title, lines, run.phases, best, goals.get(title))
    if lines := _lines(run.history, _below(run.history, "val_per_class/f1_")):
        yield "class_f1", charts.training_curve("validation F1 by class", lines, run.phases, run.best_epoch)
    if lines := _trained(_lines(run.history, _below(run.history, "lr/")), run.phases):
        yield "learning_rate", charts.training_curve("learning rate by stage", lines, run.phases, log=True)


def _split_charts(results: SplitResults) -> Iterator[tuple[str, Chart]]:
    outputs, names = results.outputs, results.class_names
    temperature = results.metrics["calibration"]["temperature"]
    yield "confusion", charts.confusion_matrix(outputs.confusion, names, normalized=False)
    yield "confusion_normalized", charts.confusion_matrix(outputs.confusion, names, normalized=True)
    yield "classes", charts.class_metrics(outputs.confusion, names)
    yield "roc", charts.roc(outputs, names)
    yield "precision_recall", charts.precision_recall(outputs, names)
    yield "reliability", charts.reliability_diagram(outputs, temperature)
    threshold = results.metrics.get("selective", {}).get("threshold")  # which version 0.1 did not have
    if results.robustness is not None:
        yield "robustness", robustness_chart(results.robustness)
    yield "risk_coverage", charts.risk_over_coverage(outputs, temperature, threshold)


def _lines(history: History, names: Mapping[str, str]) -> dict[str, dict[int, float]]:
    return {title: history[name] for title, name in names.items() if history.get(name)}


def _trained(rates: Mapping[str, dict[int, float]], phases: Mapping[int, str]) -> dict[str, dict[int, float]]:
    """Learning rates of the epochs in which a stage trains; without ``phases`` of all."""
    found = {
        stage: {epoch: rate for epoch, rate in values.items() if not phases or stage in trainable_stages(phases, epoch)}
        for stage, values in rates.items()
    }
    return {stage: values for stage, values in found.items() if values}


def _below(history: History, prefix: str) -> dict[str, str]:
    return {name.removeprefix(prefix): name for name in history if name.startswith(prefix)}


def _slug(title: str) -> str:
    return title.replace(" ", "_").lower()


def _capitalized(text: str) -> str:
    return text[:1].upper() + text[1:]


def _number(value: float | None, digits: int = 4) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"
