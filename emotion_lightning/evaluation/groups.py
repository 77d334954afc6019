"""A model's metrics for each group of images, and whether the gap between groups is larger than chance."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import torch
from torch import Tensor

from emotion_lightning.evaluation.calibration import BINS, bins_of
from emotion_lightning.evaluation.confusion import overall_metrics
from emotion_lightning.evaluation.intervals import RESAMPLES, rate_interval
from emotion_lightning.evaluation.outputs import EvalOutputs, by_subject, count_of
from emotion_lightning.seeding import derive_seed

FEWEST, FEWEST_SUBJECTS = 30, 5
"""Images, and subjects where they are known, below which a group is too small to be compared."""

GAPS = ("accuracy", "f1_macro")
"""Metrics whose gap between the best and the worst group is tested."""

AT_ONCE = 100
"""Draws that are made at once, which bounds the memory."""


class _Table(NamedTuple):
    """What is counted in each unit, a subject or an image, of one group: sums ``(units, columns)``."""

    units: Tensor
    sums: Tensor


def group_metrics(
    outputs: EvalOutputs, values: Sequence[str | None], class_names: Sequence[str], temperature: float = 1.0
) -> dict[str, Any]:
    """Accuracy, macro F1, calibration error and each class's recall of every group, and the gap between groups.

    Macro F1 is over the ``classes`` that all groups have which are large enough to be compared. Intervals are as
    everywhere: of drawing subjects, or else images, anew; recall's as :func:`rate_interval` says.

    Args:
        outputs: Outputs of the model, which has answered all images.
        values: The group of each image ``(N,)``; None where it is not known.
        class_names: Names in the order of the labels.
        temperature: What the logits are divided by for the calibration error.

    Returns:
        The ``groups`` by name, each with ``few`` where it is too small; the number of images of ``unknown`` group; and
        the ``gaps`` as :func:`_gap` gives them, none with fewer than two groups that are large enough.
    """
    names = sorted({value for value in values if value is not None}, key=_in_order)
    masks = {name: torch.tensor([value == name for value in values]) for name in names}
    found = {name: outputs.where(mask) for name, mask in masks.items()}
    large = [name for name, each in found.items() if not _is_small(each)]
    supports = torch.stack([found[name].labels.bincount(minlength=len(class_names)) for name in large or names])
    averaged = (supports > 0).all(dim=0)
    tables, units = _tables(outputs, masks, temperature)
    observed = {name: _metrics(table.sums.sum(dim=0), averaged) for name, table in tables.items()}
    drawn = {name: [] for name in names}  # type: dict[str, list[dict[str, Tensor]]]
    for weights in _draws(units):
        for name, table in tables.items():
            drawn[name].append(_metrics(weights[:, table.units] @ table.sums, averaged))
    resampled = {
        name: {key: torch.cat([part[key] for part in parts]) for key in observed[name]} for name, parts in drawn.items()
    }
    return {
        "classes": int(averaged.sum()),
        "groups": {
            name: _described(found[name], observed[name], resampled[name], class_names, name not in large)
            for name in names
        },
        "unknown": sum(value is None for value in values),
        "gaps": _gaps(outputs, masks, large, averaged, observed, resampled) if len(large) > 1 else {},
    }


def crossed(columns: Mapping[str, Sequence[str | None]]) -> Iterator[tuple[str, list[str | None]]]:
    """Yield the name and the groups of every two ``columns`` crossed."""
    for (first, ours), (second, theirs) in combinations(columns.items(), 2):
        pairs = zip(ours, theirs, strict=True)
        yield f"{first} x {second}", [None if None in pair else " x ".join(map(str, pair)) for pair in pairs]


def _in_order(name: str) -> tuple[float, str]:
    """Numbers by their size, before names."""
    try:
        return float(name.partition("-")[0]), name
    except ValueError:
        return float("inf"), name


def _is_small(outputs: EvalOutputs) -> bool:
    few = outputs.subjects is not None and count_of(outputs.subjects) < FEWEST_SUBJECTS
    return few or len(outputs.labels) < FEWEST


def _described(
    outputs: EvalOutputs,
    observed: Mapping[str, Tensor],
    resampled: Mapping[str, Tensor],
    class_names: Sequence[str],
    few: bool,
) -> dict[str, Any]:
    confusions = outputs.confusions
    hits, images = confusions.diagonal(dim1=-2, dim2=-1), confusions.sum(dim=-1)
    edges = torch.tensor([0.025, 0.975], dtype=torch.double)
    quantiles = {name: values.double().nanquantile(edges).tolist() for name, values in resampled.items()}
    return {
        "n": len(outputs.labels),
        "subjects": None if outputs.subjects is None else count_of(outputs.subjects),
        "few": few,
        **{name: value.item() for name, value in observed.items()},
        "intervals": {name: (low, high) for name, (low, high) in quantiles.items()},
        "recall": {
            name: {
                "value": hits[..., label].sum().item() / max(1, images[..., label].sum().item()),
                "interval": rate_interval(hits[..., label], images[..., label]),
                "support": int(images[..., label].sum()),
            }
            for label, name in enumerate(class_names)
        },
    }


def _tables(outputs: EvalOutputs, masks: Mapping[str, Tensor], temperature: float) -> tuple[dict[str, _Table], int]:
    """Sums of each group, and the number of units of all; a unit may have images in several groups."""
    counted = _features(outputs, temperature)
    given = torch.arange(len(outputs.labels)) if outputs.subjects is None else outputs.subjects
    names, units = torch.unique(given, return_inverse=True)
    tables = {}
    for group, mask in masks.items():
        present, places = torch.unique(units[mask], return_inverse=True)
        sums = counted.new_zeros(len(present), counted.shape[1]).index_add_(0, places, counted[mask])
        tables[group] = _Table(present, sums)
    return tables, len(names)


def _features(outputs: EvalOutputs, temperature: float) -> Tensor:
    """What each image adds to the confusion matrix and to the bins of the confidence, ``(N, classes² + 3 BINS)``."""
    images, classes = outputs.logits.shape
    cells = torch.nn.functional.one_hot(outputs.labels * classes + outputs.predicted, classes**2)
    where, confidence, right = bins_of(outputs.logits, outputs.labels, temperature)
    bins = torch.zeros(images, 3, BINS)
    bins[torch.arange(images), :, where] = torch.stack([confidence, right, torch.ones_like(right)], dim=1).float()
    return torch.cat([cells.float(), bins.flatten(1)], dim=1)


def _metrics(sums: Tensor, averaged: Tensor) -> dict[str, Tensor]:
    """Metrics ``(...)`` of sums of features ``(..., columns)``; nan without an image."""
    classes, cells = len(averaged), len(averaged) ** 2
    confusion = sums[..., :cells].reshape(*sums.shape[:-1], classes, classes)
    bins = sums[..., cells:].reshape(*sums.shape[:-1], 3, BINS)
    images = sums[..., :cells].sum(dim=-1)
    found = overall_metrics(confusion, averaged if averaged.any() else None)
    found = {name: found[name].where(images > 0, torch.nan) for name in GAPS}
    return found | {"ece": (bins[..., 0, :] - bins[..., 1, :]).abs().sum(dim=-1) / images}


def _draws(units: int) -> Iterator[Tensor]:
    """How often each unit is drawn, in parts ``(AT_ONCE, units)`` of ``RESAMPLES`` draws."""
    generator = torch.Generator().manual_seed(derive_seed(0, "groups"))
    for _ in range(0, RESAMPLES, AT_ONCE):
        chosen = torch.randint(units, (AT_ONCE, units), generator=generator)
        yield torch.zeros(AT_ONCE, units).scatter_add_(1, chosen, torch.ones(AT_ONCE, units))


def _gaps(
    outputs: EvalOutputs,
    masks: Mapping[str, Tensor],
    large: Sequence[str],
    averaged: Tensor,
    observed: Mapping[str, Mapping[str, Tensor]],
    resampled: Mapping[str, Mapping[str, Tensor]],
) -> dict[str, Any]:
    some = [outputs.where(masks[name]) for name in large]
    units = [len(each.labels) if each.subjects is None else count_of(each.subjects) for each in some]
    permuted, dealt = _permuted(outputs, [masks[name] for name in large], averaged)
    found = {}
    for key in GAPS:
        values = torch.stack([observed[name][key] for name in large])
        draws = torch.stack([resampled[name][key] for name in large])
        found[key] = _gap(large, values, draws, permuted[key].T, units) | {"dealt": dealt}
    return found


def _gap(names: Sequence[str], values: Tensor, draws: Tensor, permuted: Tensor, units: Sequence[int]) -> dict[str, Any]:
    """The gap between the best and the worst of groups, with an interval and a test that know of the choice.

    Both are Tukey's, for all differences of two groups at once and so also for the largest, each in its own standard
    deviations: how far the differences of the draws are off together says how wide the interval is, and how large the
    largest is where membership is dealt anew is what the gap is tested against.

    Args:
        names: The groups.
        values: Metric of each ``(groups,)``.
        draws: The same of each draw ``(groups, draws)``.
        permuted: The same where the images are dealt anew ``(groups, deals)``.
        units: Number of subjects, or else images, of each group: of few, draws vary less than they should, and their
            deviation is uncertain itself, for which the interval is widened as Student's t is.
    """
    best, worst = int(values.argmax()), int(values.argmin())
    gap = (values[best] - values[worst]).item()
    largest, deviation = _largest(draws - values[:, None], best, worst)
    width, few = largest.quantile(0.95).item(), min(units[best], units[worst])
    wider = 1 + (width**2 + 1) / (4 * max(1, units[best] + units[worst] - 2))
    half = width * deviation * wider * (few / max(1, few - 1)) ** 0.5
    by_chance, deviation = _largest(permuted, best, worst)
    as_large = int((by_chance * deviation >= gap - 1e-9).sum())
    return {
        "best": names[best],
        "worst": names[worst],
        "gap": gap,
        "interval": (gap - half, min(1.0, gap + half)),
        "p": (as_large + 1) / (len(by_chance) + 1),
    }


def _largest(values: Tensor, best: int, worst: int) -> tuple[Tensor, float]:
    """Largest difference of two groups in each draw, in its standard deviations, and that of the best and the worst."""
    first, second = torch.triu_indices(len(values), len(values), 1).unbind()
    apart = (values[first] - values[second]).nan_to_num(0.0).abs()
    deviations = apart.square().mean(dim=1).sqrt()
    chosen = (first == min(best, worst)) & (second == max(best, worst))
    deviation = deviations[chosen].item() if chosen.any() else 0.0  # all are equal
    return (apart / deviations.clamp(min=1e-9)[:, None]).amax(dim=0), deviation


def _permuted(outputs: EvalOutputs, masks: list[Tensor], averaged: Tensor) -> tuple[dict[str, Tensor], str]:
    """Metrics of groups to which the images are dealt anew ``(RESAMPLES, groups)``, and how they are dealt.

    Subjects are dealt with all their images where each is of one group. Where some are of several, as of two cameras,
    the images of each are dealt among the groups that it has.
    """
    membership = torch.stack(masks).long().argmax(dim=0)
    kept = torch.stack(masks).any(dim=0)
    some, membership = outputs.where(kept), membership[kept]
    classes = some.logits.shape[1]
    cells, strata = some.labels * classes + some.predicted, torch.zeros(len(membership), dtype=torch.long)
    dealt, counts = "images", torch.nn.functional.one_hot(cells, classes**2)
    if some.subjects is not None:
        subjects, places = torch.unique(some.subjects, return_inverse=True)
        of_each = by_subject(membership, places, len(masks))
        if ((of_each > 0).sum(dim=1) == 1).all():
            dealt, counts, membership = "subjects", by_subject(cells, places, classes**2), of_each.argmax(dim=1)
            strata = strata[: len(subjects)]
        else:
            alone = of_each.sum(dim=1)[places] == 1
            dealt, strata = "images of each subject", (places + 1).where(~alone, 0)
    generator = torch.Generator().manual_seed(derive_seed(0, "deal"))
    order, groups, parts = strata.argsort(stable=True), torch.arange(len(masks)), []
    for _ in range(RESAMPLES):
        shuffled = (strata + 0.999 * torch.rand(len(strata), generator=generator, dtype=torch.double)).argsort()
        anew = torch.empty_like(membership)
        anew[order] = membership[shuffled]
        parts.append((anew == groups[:, None]).float() @ counts.float())
    confusions = torch.stack(parts).view(len(parts), -1, classes, classes)
    found = overall_metrics(confusions, averaged if averaged.any() else None)
    return {key: found[key] for key in GAPS}, dealt
