"""Tables of all studies that have results, as Markdown."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.accuracy.results import Results
from benchmarks.accuracy.statistics import BySeed, Difference, difference, mean_curve, spread
from benchmarks.accuracy.study import Group, Study, known_studies, read_study
from emotion_lightning.runs.files import atomic_write

HEAD = """# What each part is worth on real faces

Written by `python -m benchmarks.accuracy`; do not edit it. The configurations stand in
[accuracy/studies](accuracy/studies), all values in [accuracy/results](accuracy/results).

Figures are of the validation split, which is FER2013's PublicTest (3,589 faces), as training ended: after the last
epoch, with the averaged weights, one view. Where there are several seeds they are mean ± standard deviation.
"Not in train" leaves out the faces that have a copy in the training split. "Difference" is macro F1 minus that of the
reference with the same seeds, with a 95 % interval by bootstrap over images and seeds, and McNemar's p of each seed.
Minutes are of one thread with other runs beside it.
"""

COLUMNS = {
    "accuracy": "accuracy",
    "f1_macro": "macro F1",
    "leak_free_accuracy": "accuracy, not in train",
    "leak_free_f1_macro": "macro F1, not in train",
    "accuracy_tta": "accuracy, flip",
    "f1_macro_tta": "macro F1, flip",
    "ece": "ECE",
    "best_f1_macro": "macro F1, best epoch",
}


def write_tables(study: Study, results: Path, target: Path) -> None:
    """Write the tables of ``study``, and of every known study with results, into ``target``."""
    studies = [study, *(read_study(name) for name in known_studies() if name != study.name)]
    parts = [
        "\n".join(_study(study, Results(study, path)))
        for study in sorted(studies, key=lambda study: study.name)
        if (path := results / f"{study.name}.json").is_file()
    ]
    with atomic_write(target) as path:
        path.write_text("\n\n".join([HEAD.strip(), *parts]) + "\n", encoding="utf-8")


def _study(study: Study, results: Results) -> Iterator[str]:
    yield f"## {study.title}\n\n{study.about}"
    for group in study.groups:
        found = {
            name: {case.seed: result for case in group.cases() if case.config == name and (result := results.of(case))}
            for name in group.configs
        }
        trained = {name: by_seed for name, by_seed in found.items() if by_seed}
        if trained:
            yield f"\n### {group.name}\n"
            yield from _scores(group, trained)
            yield "\nMacro F1 after each epoch, mean over the seeds:\n"
            yield from _curves(trained)


def _scores(group: Group, trained: dict[str, BySeed]) -> Iterator[str]:
    results = [result for by_seed in trained.values() for result in by_seed.values()]
    columns = [name for name in COLUMNS if any(result.get(name) is not None for result in results)]
    heads = [COLUMNS[name] for name in columns]
    yield from _table_head(["configuration", "seeds", *heads, "best epoch", "difference", "p", "minutes"])
    for name, by_seed in trained.items():
        reference = name == group.reference
        found = None if reference else difference(by_seed, trained.get(group.reference, {}))
        yield _row(
            [
                name,
                str(len(by_seed)),
                *(_spread(by_seed, column) for column in columns),
                ", ".join(str(by_seed[seed]["best_epoch"]) for seed in sorted(by_seed)),
                "reference" if reference else _difference(found),
                "" if found is None else ", ".join(f"{p:.2g}" for p in found.p),
                _spread(by_seed, "minutes", digits=1),
            ]
        )


def _curves(trained: dict[str, BySeed]) -> Iterator[str]:
    epochs = max(len(result["curves"]["val/f1_macro"]) for by_seed in trained.values() for result in by_seed.values())
    yield from _table_head(["configuration", *map(str, range(epochs))])
    for name, by_seed in trained.items():
        yield _row([name, *(f"{value:.3f}" for value in mean_curve(by_seed, "val/f1_macro"))])


def _difference(found: Difference | None) -> str:
    return "" if found is None else f"{found.f1_macro:+.3f} ({found.low:+.3f} to {found.high:+.3f})"


def _spread(by_seed: BySeed, name: str, digits: int = 3) -> str:
    found = spread(by_seed, name)
    if found is None:
        return ""
    average, deviation = found
    return f"{average:.{digits}f}" + ("" if deviation is None else f" ± {deviation:.{digits}f}")


def _table_head(heads: Sequence[str]) -> list[str]:
    return [_row(heads), "|" + "---|" * len(heads)]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
