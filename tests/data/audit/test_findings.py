import torch

from emotion_lightning.data.audit.duplicates import Pair
from emotion_lightning.data.audit.exposure import Exposure, content_hashes
from emotion_lightning.data.audit.findings import Leak
from emotion_lightning.data.audit.policy import Policies
from emotion_lightning.data.audit.summary import counts
from emotion_lightning.data.sources.manifest import Split
from tests.data.files import audit, digest, overlapping


def test_a_clean_data_set_has_no_findings() -> None:
    clean = audit()
    assert (clean.leaks, clean.conflicts, clean.identical, clean.near) == ({}, [], [], [])
    assert counts(clean)["leaks"] == {}


def test_every_image_of_the_later_split_is_counted_once_with_its_closest_copy() -> None:
    found = audit("aacadefg", near=((1, 3), (2, 4), (1, 6))).leaks
    assert found["train", "val"] == [Leak(3, 0, "exact", 1.0), Leak(4, 2, "near", 0.99)]
    assert found["train", "test"] == [Leak(6, 0, "near", 0.99)]  # as 0 is identical to 1, which 6 was paired with
    assert found["val", "test"] == [Leak(6, 3, "near", 0.99)]


def test_a_near_copy_of_one_of_several_identical_images_is_one_of_all() -> None:
    found = audit("abcaaefg", near=((0, 5),))
    assert overlapping(found, "test") == {5}
    assert found.duplicated_later() == {0, 3, 4}


def test_an_identical_copy_goes_before_a_near_one() -> None:
    found = audit("abcbdefg", near=((0, 3),))
    object.__setattr__(found, "pairs", (Pair(0, 3, 1.0, "near"),))
    assert found.leaks["train", "val"] == [Leak(3, 1, "exact", 1.0)]


def test_what_was_trained_on_is_known_again_by_its_content() -> None:
    found = audit("abcdefgh", near=((5, 7),))
    elsewhere = content_hashes([digest("g"), digest("z")])  # image 6, and one that is not here
    assert overlapping(found, "test", trained_on=elsewhere) == {6}
    here = Exposure(found.manifest, found, Policies()).state_dict()["trained_on"]
    assert overlapping(found, "test", Policies(leaks="drop"), here) == {5}
    assert overlapping(found, "train", trained_on=here) == {0, 1, 2, 7}
    assert overlapping(found, "test", trained_on=torch.empty(0, dtype=torch.int64)) == set()


def test_thousands_of_identical_images_take_no_longer_than_others() -> None:
    n = 50_000
    splits: tuple[Split, ...] = ("train",) * (n - 100) + ("test",) * 100
    found = audit("a" * n, splits=splits, labels=(0,) * n, groups=("one",) * n)
    assert len(found.leaks["train", "test"]) == 100
    assert len(found.duplicated_later()) == n - 100


def test_identical_images_with_different_labels_are_conflicts() -> None:
    assert audit("abacdefg").conflicts == [[0, 2]]
    assert audit("aabcdefg").conflicts == []


def test_unreadable_images_are_copies_of_nothing() -> None:
    found = audit("aaabcdef", unreadable=(0, 1, 2))
    assert found.identical == []
    assert list(found.unreadable) == [0, 1, 2]


def test_groups_in_several_splits_are_leaks() -> None:
    found = audit(groups=("x", None, "y", "x", None, None, "y", "y"))
    assert set(found.groups_across_splits) == {"x", "y"}
    assert found.leaks["train", "val"] == [Leak(3, 0, "group", 0.0)]
    assert overlapping(found, "test") == {6}
    assert found.duplicated_later() == {0, 2, 7}
