"""Figures and goals as text."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks.figure import Figure, Figures
from benchmarks.goals import judge
from benchmarks.sections import SECTIONS, Section
from benchmarks.setting import Setting

HEADS = ("work", "who", "ms, median", "least", "most", "images/s")


def report(figures: Figures, setting: Setting, machine: Mapping[str, Any]) -> str:
    """Everything that was measured, section by section, then the goals."""
    parts = [_heading(setting, machine)]
    for name, section in SECTIONS.items():
        rows = [figure for figure in figures.all if figure.section == name]
        if rows:
            parts.append(f"{name}: {section.about}\n{_section(rows, section, figures)}")
    verdicts = [
        (row["work"], row["goal"], "" if row["measured"] is None else f"{row['measured']:.3g}", row["verdict"])
        for row in judge(figures, setting)
    ]
    return "\n\n".join([*parts, "goals\n" + _aligned([("work", "goal", "measured", ""), *verdicts], left=(0, 1, 3))])


def _heading(setting: Setting, machine: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items() if version)
    device = machine["gpu"] if setting.on_gpu else f"{machine['processor']}, {machine['threads']} threads"
    return (
        f"{setting.backbone}, {setting.image_size} px, batch {setting.batch_size}, {setting.workers} workers; "
        f"{setting.rounds} rounds of {setting.warm_up} + {setting.steps} steps\n"
        f"{device}; {machine['started']}; commit {machine['git_commit']}\n{versions}"
    )


def _section(rows: Sequence[Figure], section: Section, figures: Figures) -> str:
    compared, memory = bool(section.reference), section.module == "phases"
    heads = [*HEADS, *([f"speed over {section.reference}"] if compared else []), *(["peak MB"] if memory else [])]
    lines = [heads]
    for row in rows:
        line = [row.work, row.who, *_times(row), _number(row.images_per_second)]
        if compared:
            line.append(_number(figures.ratio(row.section, (row.work, section.reference), (row.work, row.who))))
        if memory:
            line.append(_number(row.memory))
        lines.append([*line, row.note])
    return _aligned(lines, left=(0, 1, len(heads)))


def _times(row: Figure) -> list[str]:
    if row.median is None:
        return ["-"] * 3
    return [_number(1000 * value) for value in (row.median, min(row.seconds), max(row.seconds))]


def _number(value: float | None) -> str:
    """Four figures, without an exponent."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 1000 else f"{value:#.4g}".rstrip(".")


def _aligned(lines: Iterable[Sequence[str]], left: Sequence[int]) -> str:
    lines = list(lines)
    columns = range(max(map(len, lines)))
    full = [[*line, *([""] * (len(columns) - len(line)))] for line in lines]
    widths = [max(len(line[column]) for line in full) for column in columns]
    return "\n".join(
        "  ".join(
            line[column].ljust(widths[column]) if column in left else line[column].rjust(widths[column])
            for column in columns
        ).rstrip()
        for line in full
    )
