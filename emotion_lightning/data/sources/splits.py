"""Cutting a data set into splits: stratified, seeded, and no group of images on both sides of a cut."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Literal

from emotion_lightning.data.sources.labels import canonical_name
from emotion_lightning.errors import DataError
from emotion_lightning.seeding import derive_seed

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")

VAL_FROM_TRAIN: Mapping[Split, float] = {"train": 0.85, "val": 0.15}
"""Shares of a training set that comes without validation images."""

ALL_FROM_ONE: Mapping[Split, float] = {"train": 0.7, "val": 0.15, "test": 0.15}
"""Shares of a data set that comes without splits."""


def stratified_group_split(
    digests: Sequence[str],
    labels: Sequence[int],
    class_names: Sequence[str],
    shares: Mapping[Split, float],
    seed: int,
) -> list[Split]:
    """Give every image a split, so that each class has the same share of every split.

    Images with the same digest form a group, which goes whole, even when its labels differ. The sizes of each class
    come close to ``shares``, within one group where groups have one class, and every class has an image in every
    split. The result depends on the digests and the seed only, not on the order of the images, and changes little
    when some are added.

    Args:
        digests: What identifies the group of each image: a hash of its content, or what it shares with others.
        labels: Position of each image's class in ``class_names``.
        class_names: Names of the classes, for messages.
        shares: Fraction of each split; they sum to 1.
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
    placed = _one_each(groups, order, class_names, tuple(shares))

    totals = Counter(labels)
    wanted = {split: {label: share * n for label, n in totals.items()} for split, share in shares.items()}
    for digest, split in placed.items():
        _subtract(wanted[split], groups[digest])
    # Large groups and those of several classes go first: the single images after them make up for their unevenness.
    for digest in sorted(order, key=lambda digest: (len(groups[digest]), groups[digest].total()), reverse=True):
        if digest not in placed:
            placed[digest] = max(wanted, key=lambda split: sum(wanted[split][label] for label in groups[digest]))
            _subtract(wanted[placed[digest]], groups[digest])
    return [placed[digest] for digest in digests]


def verify_split(splits: Sequence[Split], *keys: Sequence[str | None]) -> None:
    """Prove that a cut kept together what shares a key.

    Args:
        splits: The split of each image that was cut.
        keys: One or more sequences with a key or None for each of these images.

    Raises:
        DataError: Two images of one key are in different splits: a fault of this program, not of the data.
    """
    for found in keys:
        place: dict[str, Split] = {}
        for key, split in zip(found, splits, strict=True):
            if key is not None and place.setdefault(key, split) != split:
                raise DataError(f"the cut put {key!r} into both {place[key]} and {split}: please report this fault")


def _subtract(wanted: dict[int, float], group: Counter[int]) -> None:
    for label, n in group.items():
        wanted[label] -= n


def _one_each(
    groups: Mapping[str, Counter[int]], order: Sequence[str], class_names: Sequence[str], splits: Sequence[Split]
) -> dict[str, Split]:
    """Place one group of every class in every split: the smallest, and rather one of that class alone."""
    placed: dict[str, Split] = {}
    for label in sorted(
        {label for group in groups.values() for label in group}, key=lambda n: canonical_name(class_names[n])
    ):
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
