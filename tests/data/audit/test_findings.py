import hashlib

import numpy as np
import pytest
import torch
from torch import Tensor

from emotion_lightning.data.audit.duplicates import Pair
from emotion_lightning.data.audit.exposure import Exposure, content_hashes
from emotion_lightning.data.audit.findings import Audit, Leak
from emotion_lightning.data.audit.policy import Policies, enforce, excluded, policy_messages
from emotion_lightning.data.audit.scan import Scan
from emotion_lightning.data.audit.summary import counts, everything, summary
from emotion_lightning.data.drawn import DrawnFaces
from emotion_lightning.data.images.thumbnail import THUMBNAIL
from emotion_lightning.data.sources.manifest import Manifest, Split
from emotion_lightning.errors import DataError
from emotion_lightning.report.audit_page import page

# Positions:                        0        1        2      3      4       5       6       7
SPLITS: tuple[Split, ...] = ("train", "train", "train", "val", "val", "test", "test", "train")
LABELS = (0, 0, 1, 0, 1, 1, 0, 1)

REPORT = Policies()


def digest(letter: str) -> str:
    return hashlib.sha256(letter.encode()).hexdigest()


def audit(
    digests: str = "abcdefgh",
    near: tuple[tuple[int, int], ...] = (),
    groups: tuple[str | None, ...] | None = None,
    unreadable: tuple[int, ...] = (),
    splits: tuple[Split, ...] = SPLITS,
    labels: tuple[int, ...] = LABELS,
) -> Audit:
    """Eight images; those with the same letter are identical."""
    n = len(digests)
    sizes = np.array([0 if index in unreadable else 48 for index in range(n)], np.int32)
    scan = Scan(
        reasons=tuple("truncated" if index in unreadable else None for index in range(n)),
        digests=tuple(map(digest, digests)),
        widths=sizes,
        heights=sizes,
        frames=np.ones(n, np.int32),
        modes=("L",) * n,
        formats=("PNG",) * n,
        thumbnails=np.zeros((n, THUMBNAIL, THUMBNAIL), np.uint8),
        sizes=np.full(n, 1000),
    )
    manifest = Manifest(
        "folder tree with splits",
        None,
        ("angry", "happy"),
        tuple(f"{split}/{index}.png" for index, split in enumerate(splits)),
        labels,
        splits,
        DrawnFaces(0, labels, 48),
        groups=groups,
    )
    return Audit(manifest, scan, tuple(Pair(*pair, 0.99, "near") for pair in near), ("notes.pdf",))


def test_a_clean_data_set_has_no_findings() -> None:
    clean = audit()
    assert (clean.leaks, clean.conflicts, clean.identical, clean.near) == ({}, [], [], [])
    assert counts(clean)["leaks"] == {}


def test_every_image_of_the_later_split_is_counted_once_with_its_closest_copy() -> None:
    found = audit("aacadefg", near=((1, 3), (2, 4), (1, 6))).leaks
    assert found["train", "val"] == [Leak(3, 0, "exact", 1.0), Leak(4, 2, "near", 0.99)]
    assert found["train", "test"] == [Leak(6, 0, "near", 0.99)]  # as 0 is identical to 1, which 6 was paired with
    assert found["val", "test"] == [Leak(6, 3, "near", 0.99)]


def overlapping(found: Audit, split: Split, policies: Policies = REPORT, trained_on: Tensor | None = None) -> set[int]:
    checkpoint = None if trained_on is None else {"trained_on": trained_on}
    mask = Exposure(found.manifest, found, policies, checkpoint).overlap_mask(split)
    assert mask is not None
    return set(mask.nonzero().flatten().tolist())


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
    here = Exposure(found.manifest, found, REPORT).state_dict()["trained_on"]
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


def test_drop_takes_the_earlier_copy_and_never_a_test_image() -> None:
    found = audit("aacaaabb", near=())  # 0, 1 train; 3, 4 val; 5 test; 6 test and 7 train
    out = excluded(found, Policies(leaks="drop"))
    assert out == dict.fromkeys((0, 1, 3, 4, 7), "leak")
    assert overlapping(found, "test", Policies(leaks="drop")) == set()
    assert overlapping(found, "test") == {5, 6}


def test_drop_of_conflicts_takes_training_images_only() -> None:
    found = audit("abadaefg")
    assert found.conflicts == [[0, 2, 4]]
    assert excluded(found, Policies(conflicts="drop")) == {0: "conflict", 2: "conflict"}
    assert excluded(found, Policies()) == {}


@pytest.mark.parametrize(
    ("policies", "message"),
    [
        (Policies(leaks="error"), r"1 of 2 val images have a copy in train; `leaks=drop`"),
        (Policies(conflicts="error"), r"2 identical images in 1 group have different labels; `conflicts=drop`"),
    ],
)
def test_error_stops_training_only(policies: Policies, message: str) -> None:
    found = audit("abadebfg"[:5] + "xyz", near=((1, 3),))
    with pytest.raises(DataError, match=message):
        enforce(found, policies, ("train", "val"), training=True)
    enforce(found, policies, ("val",), training=False)
    enforce(found, Policies(), ("train", "val"), training=True)


def test_unreadable_images_stop_what_uses_them_and_are_all_listed() -> None:
    found = audit(unreadable=(5, 6))
    listed = r"(?s)2 unreadable.*skip`:\n  test/5\.png: truncated\n  test/6\.png: truncated"
    with pytest.raises(DataError, match=listed):
        enforce(found, Policies(), ("test",), training=False)
    enforce(found, Policies(), ("val",), training=False)
    enforce(found, Policies(unreadable="skip"), ("test",), training=False)
    assert excluded(found, Policies()) == dict.fromkeys((5, 6), "unreadable")


def test_what_is_found_and_done_is_policy_messages() -> None:
    found = audit("abadaefg", unreadable=(6,))
    assert policy_messages(found, Policies()) == [
        "1 of 2 val images have a copy in train: figures on them flatter (WARNING); "
        "`leaks=drop` leaves out the copies in the earlier split",
        "3 identical images in 1 group have different labels: at least one of them is wrong (WARNING); "
        "`conflicts=drop` leaves them out of training",
    ]
    lines = policy_messages(found, Policies("skip", "drop", "drop"))
    assert lines[0].endswith("2 train images left out")
    assert lines[1].endswith("no more images left out")
    assert policy_messages(found, Policies(leaks="error", conflicts="error")) == []
    family = audit(groups=("x", None, None, "x", None, None, None, None))
    assert policy_messages(family, REPORT)[0].startswith("1 of 2 val images have another image of their group in train")
    assert lines[2] == "1 unreadable image(s) left out:\n  test/6.png: truncated"


def test_the_report_has_every_finding_with_its_paths() -> None:
    found = audit("abadaefg", near=((1, 3), (6, 7)), unreadable=(5,))
    report = everything(found)
    assert report["leaks"]["train-val"] == {"images": 2, "of": 2, "exact": 1, "near": 1}
    assert report["conflicting"][0][0] == {"path": "train/0.png", "label": "angry", "split": "train"}
    assert [(pair["first"]["path"], pair["second"]["path"]) for pair in report["near"]] == [
        ("train/1.png", "val/3.png"),
        ("test/6.png", "train/7.png"),
    ]
    assert report["unreadable_images"] == [
        {"path": "test/5.png", "label": "happy", "split": "test", "reason": "truncated"}
    ]
    assert report["other_files"] == ["notes.pdf"]
    assert report["balance"]["train"] == {"angry": 2, "happy": 2}
    assert report["sizes"] == {"48 x 48": 7}
    text = summary(found)
    assert "val images with a copy in train" in text
    assert "2 of 2 (1 exact, 1 near)" in text
    assert "nothing found" not in text


def test_the_page_shows_pairs_and_escapes_names() -> None:
    html = page(audit("abadaefg", near=((1, 3),)))
    assert html.count("<figure>") >= 3
    assert html.count("data:image/png;base64,") >= 6
    assert "http" not in html
    evil = audit("aacdefgh")
    object.__setattr__(evil.manifest, "names", ("<script>.png", *evil.manifest.names[1:]))
    assert "<script>" not in page(evil)
