from pathlib import Path

import pytest

from emotion_lightning.data.sources.layouts.ferplus import CLASSES
from emotion_lightning.data.sources.manifest import read_manifest, write_splits
from emotion_lightning.data.sources.votes import majority
from tests.data.files import ferplus, ferplus_votes, table, votes


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ({"happy": 10}, "happy"),
        ({"happy": 6, "sad": 4}, "happy"),
        ({"happy": 5, "sad": 5}, None),
        ({"happy": 4, "sad": 3, "fear": 3}, None),  # ahead, but of less than half
        ({"happy": 4, "sad": 2, "fear": 2}, None),  # of exactly half
        ({"happy": 4, "sad": 3, "fear": 1, "angry": 1, "disgust": 1}, "happy"),  # single votes do not count
        ({"happy": 1}, None),
        ({"unknown": 6, "happy": 4}, "unknown"),
        ({"happy": 0}, None),
        ({}, None),
    ],
)
def test_majority_is_more_than_half_of_the_votes_that_do_not_stand_alone(
    answers: dict[str, int], expected: str | None
) -> None:
    assert majority(answers) == expected


def test_votes_of_merged_classes_are_added_up_before_they_are_counted(tmp_path: Path) -> None:
    torn = ("Training", "torn.png", *votes(anger=3, disgust=3, neutral=4))
    root = ferplus(tmp_path, [*ferplus_votes(), torn])
    assert "left out 1 without a majority" in read_manifest(root).notes
    manifest = read_manifest(root, merge_classes={"negative": ["anger", "disgust"]})
    assert not any("left out" in note for note in manifest.notes)
    assert manifest.class_names == ("neutral", "happy", "surprise", "sad", "negative", "fear", "contempt")
    assert manifest.votes is not None
    assert (manifest.labels[-1], manifest.votes[-1]) == (4, (4, 0, 0, 0, 6, 0, 0))


def test_votes_for_a_dropped_class_go_and_images_of_it(tmp_path: Path) -> None:
    root = ferplus(tmp_path, ferplus_votes())
    manifest = read_manifest(root, drop_classes=["contempt"], class_names=["fear", *CLASSES[:6]])
    assert "contempt dropped (3 images)" in manifest.notes
    assert manifest.class_names == ("fear", *CLASSES[:6])
    assert manifest.votes is not None
    neutral = [found for found, label in zip(manifest.votes, manifest.labels, strict=True) if label == 1]
    assert neutral == [(0, 7, 0, 0, 0, 0, 0)] * 3  # the three votes were for contempt
    assert all(found.index(max(found)) == label for found, label in zip(manifest.votes, manifest.labels, strict=True))


def test_a_class_that_no_image_has_is_none(tmp_path: Path) -> None:
    rows = [row for row in ferplus_votes() if row[2 + CLASSES.index("contempt")] != 7]
    manifest = read_manifest(ferplus(tmp_path, rows))
    assert manifest.class_names == CLASSES[:7]
    assert manifest.votes is not None
    assert {len(found) for found in manifest.votes} == {7}


def test_a_splits_file_keeps_the_votes_and_its_own_labels(tmp_path: Path) -> None:
    root, file = ferplus(tmp_path / "data", ferplus_votes()), tmp_path / "splits.csv"
    manifest = read_manifest(root)
    write_splits(manifest, file)
    again = read_manifest(root, splits_file=file)
    assert again.votes == manifest.votes is not None
    assert again.fingerprint(with_votes=True) == manifest.fingerprint(with_votes=True)

    lines = file.read_text().splitlines()
    table(file, lines[0], [("fer2013.csv:2", "sad", "train"), *(line.split(",") for line in lines[2:])])
    corrected = read_manifest(root, splits_file=file)
    assert corrected.class_names[corrected.labels[0]] == "sad"
    assert corrected.votes == ((0, 0, 0, 1, 0, 0, 0, 0), *(manifest.votes or ())[1:])
    assert "1 images with a label other than their votes' majority" in corrected.notes


@pytest.mark.parametrize("merge", [{"negative": ["anger", "disgust"]}, {"happy": ["happy", "disgust"]}], ids=str)
def test_merged_votes_are_those_of_the_labels_in_a_splits_file(tmp_path: Path, merge: dict[str, list[str]]) -> None:
    root, file = ferplus(tmp_path / "data", ferplus_votes()), tmp_path / "splits.csv"
    write_splits(read_manifest(root), file)  # whose labels are not merged
    expected = read_manifest(root, merge_classes=merge)
    found = read_manifest(root, merge_classes=merge, splits_file=file)
    assert dict(zip(found.names, found.labels, strict=True)) == dict(zip(expected.names, expected.labels, strict=True))
    assert found.class_names == expected.class_names
    assert found.votes == expected.votes is not None


def test_the_fingerprint_notices_votes_where_they_are_trained_on(tmp_path: Path) -> None:
    rows = ferplus_votes()
    before = read_manifest(ferplus(tmp_path / "a", rows))
    after = read_manifest(ferplus(tmp_path / "b", [(*rows[0][:2], *votes(neutral=8, fear=2)), *rows[1:]]))
    assert before.fingerprint() == after.fingerprint()
    assert before.fingerprint(with_votes=True) != after.fingerprint(with_votes=True)
    other = read_manifest(tmp_path / "a", class_names=CLASSES[::-1])
    assert before.fingerprint(with_votes=True) == other.fingerprint(with_votes=True)
