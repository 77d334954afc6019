import random
from collections import Counter
from collections.abc import Callable, Sequence

import pytest

from emotion_lightning.data.sources.splits import ALL_FROM_ONE, VAL_FROM_TRAIN, Split, stratified_group_split
from emotion_lightning.errors import DataError
from tests.helpers import naive, straddling

NAMES = ("angry", "happy", "sad")
Cut = Callable[[Sequence[str], Sequence[int]], list[Split]]


def grouped(seed: int = 42) -> Cut:
    return lambda digests, labels: stratified_group_split(digests, labels, NAMES, ALL_FROM_ONE, seed)


def faces(sizes: Sequence[int] = (100, 300, 57), copies: int = 1) -> tuple[list[str], list[int]]:
    labels = [label for label, size in enumerate(sizes) for _ in range(size)]
    return [f"{label}-{number // copies}" for number, label in enumerate(labels)], labels


def assert_stratified(labels: Sequence[int], splits: Sequence[Split], largest_group: int) -> None:
    sizes, totals = Counter(zip(labels, splits, strict=True)), Counter(labels)
    for label, total in totals.items():
        for split, share in ALL_FROM_ONE.items():
            assert abs(sizes[label, split] - share * total) <= largest_group, (label, split)


def test_every_class_has_the_same_shares() -> None:
    digests, labels = faces()
    assert_stratified(labels, grouped()(digests, labels), largest_group=1)


@pytest.mark.parametrize("copies", [2, 3, 7])
def test_copies_stay_together_and_shares_hold_within_one_group(copies: int) -> None:
    digests, labels = faces(copies=copies)
    splits = grouped()(digests, labels)
    assert straddling(digests, splits) == 0
    assert_stratified(labels, splits, largest_group=copies)


def test_the_naive_split_fails_these_checks() -> None:
    digests, labels = faces(copies=2)
    splits = naive(digests, labels)
    assert straddling(digests, splits) > 0
    with pytest.raises(AssertionError):
        assert_stratified(labels, splits, largest_group=2)


def test_copies_with_different_labels_go_whole() -> None:
    digests, labels = faces()
    for pair in range(20):  # twenty images stand in two classes each
        digests[100 + pair] = digests[pair]
    splits = grouped()(digests, labels)
    assert straddling(digests, splits) == 0
    assert_stratified(labels, splits, largest_group=2)


def test_same_seed_same_cut_and_other_seed_other_cut() -> None:
    digests, labels = faces()
    assert grouped(1)(digests, labels) == grouped(1)(digests, labels)
    assert grouped(1)(digests, labels) != grouped(2)(digests, labels)


def test_the_order_of_the_images_does_not_matter() -> None:
    digests, labels = faces(copies=3)
    order = random.Random(1).sample(range(len(digests)), len(digests))
    splits = grouped()(digests, labels)
    shuffled = grouped()([digests[i] for i in order], [labels[i] for i in order])
    assert shuffled == [splits[i] for i in order]


def test_the_cut_is_no_slice_of_the_listing() -> None:
    digests, labels = faces((400, 0, 0))
    train = [number for number, split in enumerate(grouped()(digests, labels)) if split == "train"]
    assert 180 < sum(train) / len(train) < 220  # 199.5 when drawn evenly


@pytest.mark.parametrize("label", range(3))
@pytest.mark.parametrize("copies", [1, 2, 3])
@pytest.mark.parametrize("size", [60, 200, 1000, 5000])
def test_an_image_more_or_less_moves_at_most_a_few_others(size: int, copies: int, label: int) -> None:
    digests, labels = faces((size // 5, size // 2, size - size // 5 - size // 2), copies)
    splits = grouped()(digests, labels)
    changes = [([*digests, f"new {number}"], [*labels, label]) for number in range(3)]
    last = len(labels) - labels[::-1].index(label) - 1
    changes.append(([*digests, digests[last]], [*labels, label]))  # one more copy
    for more in changes:
        assert sum(a != b for a, b in zip(splits, grouped()(*more), strict=False)) <= 4 * copies
    less = grouped()(digests[:last] + digests[last + 1 :], labels[:last] + labels[last + 1 :])
    assert sum(a != b for a, b in zip(splits[:last] + splits[last + 1 :], less, strict=True)) <= 4 * copies


def test_single_images_make_up_for_the_unevenness_of_large_groups() -> None:
    sizes = [40, 25, 25, 12, 9, 9, 7, 5, 5, 3]
    digests = [f"{seed} {size}" for seed, size in enumerate(sizes) for _ in range(size)]
    digests += [f"single {number}" for number in range(100)]
    assert_stratified([0] * len(digests), grouped()(digests, [0] * len(digests)), largest_group=1)


def test_three_images_are_one_for_each_split() -> None:
    digests, labels = faces((100, 3, 20))
    splits = grouped()(digests, labels)
    assert sorted(split for split, label in zip(splits, labels, strict=True) if label == 1) == ["test", "train", "val"]


def test_one_large_group_stays_in_train() -> None:
    digests = ["burst"] * 50 + ["a", "b"]
    assert stratified_group_split(digests, [0] * 52, NAMES, ALL_FROM_ONE, 0)[0] == "train"


def test_a_class_too_small_for_the_cut_is_named() -> None:
    digests, labels = faces((100, 2, 20))
    with pytest.raises(DataError, match=r"class 'happy' has too few different images \(2\) to cut train, val, test"):
        grouped()(digests, labels)


def test_copies_do_not_make_a_class_large_enough() -> None:
    digests, labels = faces((100, 0, 20))
    with pytest.raises(DataError, match="class 'happy' has too few different images"):
        grouped()([*digests, *["same"] * 9], [*labels, *[1] * 9])


def test_validation_is_cut_from_train() -> None:
    digests, labels = faces()
    splits = stratified_group_split(digests, labels, NAMES, VAL_FROM_TRAIN, 42)
    assert Counter(splits) == {"train": 388, "val": 69}
