"""What was to be reached, beside what was measured."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.figure import Figures
from benchmarks.setting import PHASES, Setting
from emotion_lightning.schedule import RECIPE_SCHEDULE, parse_schedule, phases

FER2013 = {"train": 28_709, "val": 3_589}
EPOCHS = 80


@dataclass(frozen=True)
class Goal:
    """A figure to reach, and the setting that it holds for.

    Args:
        work: What is measured, and against what.
        target: The figure.
        at_least: Whether more is better; otherwise less is.
        unit: Unit of the figure.
        measure: Takes it from all that was measured; None where something is missing.
        device: cpu, cuda, or empty for any.
        batch_size: Images of a step; 0 for any.
        full_size: Whether it holds for a ResNet50 at 224 px alone.
    """

    work: str
    target: float
    at_least: bool
    unit: str
    measure: Callable[[Figures], float | None]
    device: str = "cpu"
    batch_size: int = 16
    full_size: bool = True

    def judge(self, figures: Figures, setting: Setting) -> dict[str, Any]:
        """Return goal, figure and verdict in plain types."""
        fits = self.device in ("", setting.device)
        measured = self.measure(figures) if fits else None
        if measured is None:
            verdict = "not measured" if fits else f"not measured: needs {_DEVICES[self.device]}"
        else:
            reached = measured >= self.target if self.at_least else measured <= self.target
            verdict = ("reached" if reached else "short") + ("" if self._holds(setting) else ", in another setting")
        sign = "≥" if self.at_least else "≤"
        return {"work": self.work, "goal": f"{sign} {self.target:g} {self.unit}".strip(), "measured": measured} | {
            "verdict": verdict
        }

    def _holds(self, setting: Setting) -> bool:
        full = setting.backbone == "resnet50" and setting.image_size == 224
        return (full or not self.full_size) and self.batch_size in (0, setting.batch_size)


_DEVICES = {"cpu": "a CPU alone", "cuda": "a GPU"}


def judge(figures: Figures, setting: Setting) -> list[dict[str, Any]]:
    """Compare everything with its goal."""
    return [goal.judge(figures, setting) for goal in GOALS]


def _over(section: str, who: str, other: str, work: str) -> Callable[[Figures], float | None]:
    return lambda figures: figures.ratio(section, (work, who), (work, other))


def _over_all(phase: str) -> Callable[[Figures], float | None]:
    return lambda figures: figures.ratio("phases", (phase, "ours"), ("all", "ours"))


def recipe_minutes(figures: Figures) -> float | None:
    """Minutes of the whole recipe on FER2013, put together from steps, validations and what else ends an epoch."""
    names, total = {lowest: name for name, lowest in PHASES.items()}, 0.0
    for phase in phases(parse_schedule(RECIPE_SCHEDULE), EPOCHS):
        step = figures.find("phases", names[phase.stages[0]], "ours")
        if step.median is None:
            return None
        total += (phase.end - phase.start) * (FER2013["train"] // step.images) * step.median
    validation, rest = (figures.find("epoch_end", work, "ours") for work in ("validation", "all else"))
    if validation.images_per_second is None or rest.median is None:
        return None
    return (total + EPOCHS * (FER2013["val"] / validation.images_per_second + rest.median)) / 60


_ON_GPU: dict[str, Any] = {"device": "cuda", "batch_size": 256}
GOALS: Sequence[Goal] = (
    *(
        Goal(f"{phase}: times as fast as the notebook", target, True, "x", _over("phases", "notebook", "ours", phase))
        for phase, target in (("classifier only", 4.0), ("+ layer4", 3.0), ("all", 2.5))
    ),
    *(
        Goal(f"all: times as fast as {who}", 1.0, True, "x", _over("phases", who, "ours", "all"))
        for who in ("timm", "fastai", "transformers")
    ),
    Goal(
        "64 px, all: step with all that we add over that of a bare loop",
        1.05,
        False,
        "x",
        _over("overhead", "ours, random numbers", "ceiling", "all"),
    ),
    Goal(
        "input, phase 2: times as fast as torchvision on a core",
        3.0,
        True,
        "x",
        _over("input", "torchvision", "ours", "phase 2"),
        device="",
        batch_size=0,
    ),
    Goal(
        "fit of one step over importing the libraries",
        2.0,
        False,
        "x",
        _over("startup", "fit of one step", "importing the libraries", "process"),
        device="",
        batch_size=0,
    ),
    Goal(
        "copies among 32,000 images: times as long as among 8,000",
        4**1.2,
        False,
        "x",
        lambda figures: figures.ratio("scale", ("copies among 32,000", "ours"), ("copies among 8,000", "ours")),
        device="",
        batch_size=0,
        full_size=False,
    ),
    Goal(
        "all: bare loop on random numbers",
        3500,
        True,
        "images/s",
        lambda figures: figures.find("phases", "all", "ceiling").images_per_second,
        **_ON_GPU,
    ),
    Goal(
        "all: speed from disk over that of the bare loop",
        0.95,
        True,
        "x",
        _over("phases", "ceiling", "ours", "all"),
        **_ON_GPU,
    ),
    *(
        Goal(f"{phase}: step over that of all", target, False, "x", _over_all(phase), device="", batch_size=0)
        for phase, target in (("classifier only", 0.4), ("+ layer4", 0.55), ("+ layer3", 0.75))
    ),
    Goal("the recipe's 80 epochs on FER2013, projected", 10, False, "minutes", recipe_minutes, **_ON_GPU),
    Goal(
        "all: memory of an image",
        47,
        False,
        "MB",
        lambda figures: figures.find("phases", "all", "ours").memory_per_image,
        **_ON_GPU,
    ),
)
"""The project's goals."""
