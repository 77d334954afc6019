"""How often 95 % intervals hold the truth where people have several images, and how often a gap is found where none is.

    python -m benchmarks.coverage

People are recognized more or less often than others; the truth is known, as they are drawn from it. Of groups that are
alike, the gap between the best and the worst should be called larger than chance in 5 of 100 draws. Needs no data;
about 5 minutes on a core.
"""

from collections import Counter
from collections.abc import Iterator

import numpy as np
import torch

from emotion_lightning.evaluation.groups import group_metrics
from emotion_lightning.evaluation.intervals import bootstrap_intervals, paired_intervals, rate_interval
from emotion_lightning.evaluation.outputs import EvalOutputs, by_subject

DRAWS, TRUTH, IMAGES, CLASSES = 500, 0.6, 15, 3
PEOPLE = (10, 20, 40, 100)


def drawn(rng: np.random.Generator, people: int, alike: bool = False) -> EvalOutputs:
    """Answers for people of whom each is recognized with a probability of their own, 0.6 in the mean.

    Args:
        rng: Draws them.
        people: Number of people, of ``IMAGES`` images each in the mean.
        alike: Recognize all people equally often.
    """
    images = rng.poisson(IMAGES - 1, people) + 1
    chances = np.full(people, TRUTH) if alike else rng.beta(1.5, 1.0, people)
    subjects = torch.arange(people).repeat_interleave(torch.from_numpy(images))
    right = torch.from_numpy(rng.random(len(subjects)) < np.repeat(chances, images))
    labels = torch.from_numpy(rng.integers(CLASSES, size=len(subjects)))
    predicted = labels.where(right, (labels + 1) % CLASSES)
    return EvalOutputs(torch.nn.functional.one_hot(predicted, CLASSES).double(), labels, labels, subjects)


def coverage(people: int) -> dict[str, float]:
    """Share of the draws in which each kind of interval holds the truth."""
    rng, held = np.random.default_rng(people), Counter[str]()
    for seed in range(DRAWS):
        outputs = drawn(rng, people)
        assert outputs.subjects is not None
        images = by_subject(torch.zeros_like(outputs.labels), outputs.subjects, 1)[:, 0]
        hits = outputs.confusions.diagonal(dim1=1, dim2=2).sum(dim=1)
        right = torch.from_numpy(rng.random(len(outputs.labels)) < TRUTH)
        theirs = outputs.labels.where(right, (outputs.labels + 1) % CLASSES)
        pair = (outputs.labels, outputs.predicted, theirs, CLASSES)
        intervals = {
            "bootstrap, subjects": (bootstrap_intervals(outputs.confusions, seed=seed)["accuracy"], TRUTH),
            "bootstrap, images": (bootstrap_intervals(outputs.confusion, seed=seed)["accuracy"], TRUTH),
            "Wilson, effective": (rate_interval(hits, images), TRUTH),
            "Wilson, images": (rate_interval(hits.sum(), images.sum()), TRUTH),
            "paired, subjects": (paired_intervals(*pair, outputs.subjects, seed=seed)["accuracy"], 0.0),
            "paired, images": (paired_intervals(*pair, seed=seed)["accuracy"], 0.0),
        }
        held.update(name for name, ((low, high), truth) in intervals.items() if low <= truth <= high)
    return {name: held[name] / DRAWS for name in intervals}


def false_gaps(groups: int, draws: int = 100) -> Iterator[tuple[str, float, float]]:
    """Share of draws in which groups that are alike have a gap by its interval, and by its test.

    Args:
        groups: Number of groups, of 15 people each.
        draws: Number of draws.
    """
    for title, alike in (("images", True), ("subjects", False)):
        rng, found = np.random.default_rng(groups), Counter[str]()
        for _ in range(draws):
            outputs = drawn(rng, 15 * groups, alike)
            assert outputs.subjects is not None
            values = [f"group {subject % groups}" for subject in outputs.subjects.tolist()]
            measured = outputs._replace(subjects=None) if alike else outputs
            gap = group_metrics(measured, values, ["a", "b", "c"])["gaps"]["accuracy"]
            found.update({"interval": gap["interval"][0] > 0, "test": gap["p"] < 0.05})
        yield title, found["interval"] / draws, found["test"] / draws


def main() -> None:
    """Print both tables."""
    rows = {people: coverage(people) for people in PEOPLE}
    print(f"Share of {DRAWS} draws whose 95 % interval holds the truth\n")
    print(f"{'people':22}{''.join(f'{people:8}' for people in PEOPLE)}")
    for name in rows[PEOPLE[0]]:
        print(f"{name:22}{''.join(f'{rows[people][name]:8.3f}' for people in PEOPLE)}")
    print("\nShare of 100 draws in which groups that are alike have a gap, by its interval and by its test\n")
    for groups in (2, 5, 10):
        for title, interval, test in false_gaps(groups):
            print(f"{groups:2} groups, of {title:10}{interval:8.2f}{test:8.2f}")


if __name__ == "__main__":
    main()
