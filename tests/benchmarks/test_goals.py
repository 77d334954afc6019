from dataclasses import replace

import pytest

from benchmarks.figure import Figure, Figures
from benchmarks.goals import FER2013, judge, recipe_minutes
from benchmarks.setting import PHASES, Setting


def verdicts(figures: list[Figure], setting: Setting) -> dict[str, str]:
    return {row["work"]: row["verdict"] for row in judge(Figures(figures), setting)}


@pytest.fixture
def usual(setting: Setting) -> Setting:
    return replace(setting, backbone="resnet50", image_size=224, batch_size=16)


@pytest.mark.parametrize(("notebook", "verdict"), [(5.1, "reached"), (4.9, "short")])
def test_a_ratio_of_medians_is_compared_with_the_goal(usual: Setting, notebook: float, verdict: str) -> None:
    figures = [
        Figure("phases", "all", "ours", (2.0, 1.0, 99.0), 16),
        Figure("phases", "all", "notebook", (0.0, notebook, 77.0), 16),
    ]
    assert verdicts(figures, usual)["all: times as fast as the notebook"] == verdict
    other = verdicts(figures, replace(usual, batch_size=8))
    assert other["all: times as fast as the notebook"] == f"{verdict}, in another setting"


def test_a_goal_of_another_device_is_not_judged(usual: Setting) -> None:
    figures = [Figure("phases", "all", "ceiling", (0.07,), 256), Figure("phases", "all", "notebook", (1.0,), 256)]
    work = "all: bare loop on random numbers"
    assert verdicts(figures, usual)[work] == "not measured: needs a GPU"
    on_gpu = verdicts(figures, replace(usual, device="cuda", batch_size=256))
    assert on_gpu[work] == "reached"
    assert on_gpu["all: times as fast as the notebook"] == "not measured: needs a CPU alone"


def test_memory_is_that_of_an_image(usual: Setting) -> None:
    on_gpu = replace(usual, device="cuda", batch_size=256)
    figures = [Figure("phases", "all", "ours", (1.0,), 256, peak_memory=(48_000_000 * 256,))]
    [row] = [row for row in judge(Figures(figures), on_gpu) if row["work"] == "all: memory of an image"]
    assert (row["measured"], row["verdict"]) == (48.0, "short")


def test_the_recipe_is_the_sum_of_its_epochs() -> None:
    steps = FER2013["train"] // 100
    seconds = dict(zip(PHASES, (1.0, 2.0, 3.0, 4.0, 5.0), strict=True))
    figures = [Figure("phases", phase, "ours", (value,), 100) for phase, value in seconds.items()]
    assert recipe_minutes(Figures(figures)) is None
    figures += [
        Figure("epoch_end", "validation", "ours", (10.0,), FER2013["val"]),
        Figure("epoch_end", "all else", "ours", (2.0,)),
    ]
    assert recipe_minutes(Figures(figures)) == pytest.approx(
        (10 * (1 + 2 + 3 + 4) * steps + 40 * 5 * steps + 80 * 12) / 60
    )
