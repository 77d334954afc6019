"""What is said of groups of images and of corrupted copies, on the terminal and in charts."""

from collections.abc import Mapping
from typing import Any

from emotion_lightning.report.chart import SERIES, SOFT, Chart, draw_legend, new_chart

DEALT = {
    "subjects": "membership dealt anew among subjects",
    "images": "membership dealt anew among images",
    "images of each subject": "membership dealt anew among the images of each subject",
}
"""How a test of a gap says what chance is."""


def gap_said(gap: Mapping[str, Any], metric: str) -> str:
    """Say a gap between groups in a sentence: how large it is, between which, and whether by more than chance."""
    low, high = gap["interval"]
    larger = "larger than chance" if gap["p"] < 0.05 else "not larger than chance"
    said = f"{metric} {gap['gap']:.3f} better for {gap['best']} than for {gap['worst']} ({low:.3f} to {high:.3f})"
    return f"{said}: {larger} (p = {gap['p']:.2g}, {DEALT[gap['dealt']]})"


def groups_said(groups: Mapping[str, Any]) -> str:
    """Say accuracy of each group and the gaps, in lines; empty without groups."""
    lines = []
    for column, found in groups.items():
        shown = [
            f"{name} {each['accuracy']:.4f} of {each['n']:,}{' (few)' * each['few']}"
            for name, each in found["groups"].items()
        ]
        lines.append(f"Accuracy by {column}: {', '.join(shown)}")
        lines += [f"  {gap_said(gap, title)}" for title, gap in _titled(found["gaps"])]
    return "\n".join(lines)


def robustness_said(found: Mapping[str, Any] | None) -> str:
    """Say the mean accuracy over corruptions and the worst of them; empty if nothing was measured."""
    if found is None:
        return ""
    means = {name: mean_of(found, name, "accuracy") for name in found["corruptions"]}
    worst = min(means, key=lambda name: means[name])
    relative = found["relative_accuracy"]
    share = "" if relative is None else f", {relative:.1%} of that of the images as they are"
    return f"Corrupted: accuracy {found['mean']['accuracy']:.4f}{share}; worst: {worst} {means[worst]:.4f}"


def mean_of(found: Mapping[str, Any], name: str, key: str) -> float:
    """Mean of a metric over the strengths of a corruption."""
    strengths = found["corruptions"][name]["strengths"]
    return float(sum(each[key] for each in strengths) / len(strengths))


def _titled(gaps: Mapping[str, Any]) -> list[tuple[str, Any]]:
    titles = {"accuracy": "accuracy", "f1_macro": "macro F1"}
    return [(titles[key], gap) for key, gap in gaps.items()]


def robustness_chart(found: Mapping[str, Any]) -> Chart:
    """Draw accuracy over the strength of each corruption; strength 0 is the image as it is."""
    with new_chart("accuracy on corrupted images", "strength", size=(6.4, 3.6)) as chart:
        axes, clean = chart.axes, found["clean"]["accuracy"]
        axes.axhline(clean, color=SOFT, linewidth=0.8, linestyle="--")
        for place, (name, each) in enumerate(found["corruptions"].items()):
            values = [clean, *(strength["accuracy"] for strength in each["strengths"])]
            style = "-" if place < len(SERIES) else "--"
            axes.plot(range(len(values)), values, style, label=name, color=SERIES[place % len(SERIES)], marker=".")
            chart.tips_at((x, y, f"{name}, strength {x}\naccuracy {y:.3f}") for x, y in enumerate(values))
        axes.set_ylim(0, None)
        draw_legend(axes)
    return chart
