"""Cutting a data set into splits: stratified, seeded, and no group of images on both sides of a cut."""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Literal, NamedTuple, TypeVar

from emotion_lightning.data.sources.labels import canonical_name
from emotion_lightning.errors import DataError
from emotion_lightning.seeding import derive_seed

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
Part = TypeVar("Part", bound=str)


class Fold(NamedTuple):
    """Which of how many folds is the validation split, counted from 0; the others are trained on."""

    number: int
    of: int


VAL_FROM_TRAIN: Mapping[Split, float] = {"train": 0.85, "val": 0.15}
"""Shares of a training set that comes without validation images."""

ALL_FROM_ONE: Mapping[Split, float] = {"train": 0.7, "val": 0.15, "test": 0.15}
"""Shares of a data set that comes without splits."""


def stratified_group_split(
    digests: Sequence[str],
    labels: Sequence[int],
    class_names: Sequence[str],
    shares: Mapping[Part, float],
    seed: int,
) -> list[Part]:
    """Give every image a split, so that each class has the same share of every split.

    Images with the same digest form a group, which goes whole, even when its labels differ. The sizes of each class
    come close to ``shares``, within one group where groups have one class, and every class has an image in every
    split. The result depends on the digests and the seed only, not on the order of the images: of a class, the groups
    of least hash are for training, and those of greatest hash for the test. So one image more or less moves only the
    few others that lie next to where one split ends, however many there are.

    Args:
        digests: What identifies the group of each image: a hash of its content, or what it shares with others.
        labels: Position of each image's class in ``class_names``.
        class_names: Names of the classes, for messages.
        shares: Fraction of each split, or of each fold; they sum to 1.
        seed: Other seeds give other cuts.

    Returns:
        The split of each image, in the order of ``digests``.

    Raises:
        DataError: A class has too few groups to be in every split.
    """
    groups: defaultdict[str, Counter[int]] = defaultdict(Counter)
    for digest, label in zip(digests, labels, strict=True):
        groups[digest][label] += 1
    order = sorted(groups, key=lambda digest: derive_seed(seed, "cut", digest))
    small: set[int] = set()
    while True:  # a class so small that the shares leave a split without it has an image put into each
        placed = _one_each(groups, order, class_names, tuple(shares), small)
        _cut(groups, order, class_names, shares, placed)
        found = {(label, placed[digest]) for digest, group in groups.items() for label in group}
        if lacking := {label for label in labels for split in shares if (label, split) not in found}:
            small |= lacking
        else:
            return [placed[digest] for digest in digests]


def _cut(
    groups: Mapping[str, Counter[int]],
    order: Sequence[str],
    class_names: Sequence[str],
    shares: Mapping[Part, float],
    placed: dict[str, Part],
) -> None:
    """Place all other groups class by class, each by its place in ``order``."""
    totals = Counter(label for group in groups.values() for label in group.elements())
    room = {split: {label: share * n for label, n in totals.items()} for split, share in shares.items()}
    for digest, split in placed.items():
        _subtract(room[split], groups[digest])
    # Rare classes go first, and large groups: what comes after them makes up for their unevenness. Both go by powers of
    # two, so that an image more hardly ever changes the order.
    for label in sorted(totals, key=lambda n: (totals[n].bit_length(), canonical_name(class_names[n]))):
        of_size: defaultdict[int, list[str]] = defaultdict(list)
        for digest in order:
            if label in groups[digest] and digest not in placed:
                of_size[groups[digest].total().bit_length()].append(digest)
        for size in sorted(of_size, reverse=True):
            counts = [groups[digest][label] for digest in of_size[size]]
            left = {split: max(room[split][label], 0.0) for split in shares}
            for digest, split in zip(of_size[size], _slices(counts, left), strict=True):
                placed[digest] = split
                _subtract(room[split], groups[digest])


def _slices(counts: Sequence[int], left: Mapping[Part, float]) -> list[Part]:
    """Cut a row of groups of ``counts`` images into one piece for each split, in proportion to what is ``left``."""
    scale = sum(counts) / (sum(left.values()) or 1)
    ends = list(accumulate(scale * wanted for wanted in left.values()))
    middles = (end - count / 2 for end, count in zip(accumulate(counts), counts, strict=True))
    splits = list(left)
    return [splits[min(bisect_right(ends, middle), len(splits) - 1)] for middle in middles]


def fold_split(
    digests: Sequence[str], labels: Sequence[int], class_names: Sequence[str], fold: Fold, seed: int
) -> list[Split]:
    """Cut images into folds as :func:`stratified_group_split` cuts splits, and make one of them the validation split.

    All folds of a seed are parts of the same cut, so that each image is in one of them.
    """
    names = [f"fold {number}" for number in range(fold.of)]
    found = stratified_group_split(digests, labels, class_names, dict.fromkeys(names, 1 / fold.of), seed)
    return ["val" if name == names[fold.number] else "train" for name in found]


def verify_split(splits: Sequence[str], *keys: Sequence[str | None]) -> None:
    """Prove that a cut kept together what shares a key.

    Args:
        splits: The split of each image that was cut.
        keys: One or more sequences with a key or None for each of these images.

    Raises:
        DataError: Two images of one key are in different splits: a fault of this program, not of the data.
    """
    for found in keys:
        place: dict[str, str] = {}
        for key, split in zip(found, splits, strict=True):
            if key is not None and place.setdefault(key, split) != split:
                raise DataError(f"the cut put {key!r} into both {place[key]} and {split}: please report this fault")


def _subtract(wanted: dict[int, float], group: Counter[int]) -> None:
    for label, n in group.items():
        wanted[label] -= n


def _one_each(
    groups: Mapping[str, Counter[int]],
    order: Sequence[str],
    class_names: Sequence[str],
    splits: Sequence[Part],
    labels: Iterable[int],
) -> dict[str, Part]:
    """Place one group of each of ``labels`` in every split: the smallest, and rather one of that class alone."""
    placed: dict[str, Part] = {}
    for label in sorted(labels, key=lambda n: canonical_name(class_names[n])):
        holding = [digest for digest in order if label in groups[digest]]
        holding.sort(key=lambda digest: (len(groups[digest]), groups[digest].total()))
        for split in reversed(splits):  # train last: of very few groups the largest is left for it
            if any(placed.get(digest) == split for digest in holding):
                continue
            free = next((digest for digest in holding if digest not in placed), None)
            if free is None:
                raise DataError(
                    f"class {class_names[label]!r} has too few different images ({len(holding)}) to cut "
                    f"{', '.join(splits)} from (copies and groups count once): add images, leave the class out, or "
                    "give the splits yourself"
                )
            placed[free] = split
    return placed
