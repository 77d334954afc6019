from pathlib import Path

import pytest

from emotion_lightning.data.datamodule import EmotionDataModule
from emotion_lightning.data.sources.manifest import read, read_manifest, write_splits
from emotion_lightning.errors import UsageError
from tests.data.files import faces, fer_rows, table

EMOTIONS = ("angry", "contempt", "happiness", "sad")


@pytest.fixture
def four(tmp_path: Path) -> Path:
    """A flat tree of four classes."""
    for place, emotion in enumerate(EMOTIONS):
        faces(tmp_path / "data" / emotion, 20, 100 * place)
    return tmp_path / "data"


def test_classes_are_merged_by_any_of_their_names(four: Path) -> None:
    manifest = read_manifest(four, merge_classes={"happy": ["joy", "Contempt"]})
    assert manifest.class_names == ("angry", "happy", "sad")
    assert manifest.labels[manifest.names.index("contempt/100.png")] == 1
    assert manifest.labels[manifest.names.index("sad/300.png")] == 2
    assert {split: sum(manifest.counts(split).values()) for split in ("train", "val", "test")} == {
        "train": 56,
        "val": 12,
        "test": 12,
    }
    assert manifest.counts("test") == {"angry": 3, "happy": 6, "sad": 3}
    assert manifest.describe().endswith("; contempt merged into happy")


def test_a_class_may_be_merged_into_one_that_is_there_or_renamed(four: Path) -> None:
    assert read_manifest(four, merge_classes={"happy": ["contempt"]}).class_names == ("angry", "happy", "sad")
    assert read_manifest(four, merge_classes={"glad": ["happy"]}).class_names == ("angry", "contempt", "glad", "sad")


def test_dropped_classes_leave_with_their_images(four: Path) -> None:
    manifest = read_manifest(four, drop_classes=["contempt", "anger"])
    assert manifest.class_names == ("happiness", "sad")
    assert len(manifest) == 40
    assert manifest.describe().endswith("; contempt, angry dropped (40 images)")
    assert manifest.paths is not None
    assert all(str(path).endswith(name) for path, name in zip(manifest.paths, manifest.names, strict=True))


def test_a_class_that_was_given_a_new_name_is_not_strange(four: Path) -> None:
    faces(four / "metadata", 20, 2000)
    faces(four / "0", 20, 3000)
    notes = read_manifest(four, merge_classes={"negative": ["angry", "sad"]}).notes
    assert [note for note in notes if "WARNING" in note] == [
        '0, metadata are no emotion that is known by name (WARNING); `drop_classes=["0", "metadata"]` leaves them out'
    ]


def test_what_a_model_merged_is_merged_where_only_a_test_split_has_it(tmp_path: Path) -> None:
    for place, emotion in enumerate(EMOTIONS):
        faces(tmp_path / "test" / emotion, 3, 100 * place)
    faces(tmp_path / "train" / "happiness", 2, 900)
    faces(tmp_path / "train" / "sad", 2, 950)
    listing = read(tmp_path, merge_classes={"happy": ["happiness", "contempt"]}, class_names=["happy"], training=False)
    assert len(listing.rows) == 8
    assert listing.unknown == {"angry": 3, "sad": 5}
    assert not any("to merge or drop" in note for note in listing.notes)


def test_a_class_too_small_to_cut_may_be_dropped(four: Path) -> None:
    faces(four / "disgust", 1, 900)
    assert "disgust" not in read_manifest(four, drop_classes=["disgust"]).class_names


def test_rows_of_pixels_are_merged_and_dropped(tmp_path: Path) -> None:
    table(tmp_path / "fer2013.csv", "emotion,pixels,Usage", fer_rows())
    manifest = read_manifest(tmp_path, merge_classes={"negative": ["anger", "fear", "sad"]}, drop_classes=["disgust"])
    assert manifest.class_names == ("negative", "happy", "surprise", "neutral")
    assert manifest.labels == (0, 0, 1, 0, 2, 3, 1, 3)
    assert [manifest.read(index).getpixel((0, 0))[0] for index in (1, 6, 7)] == [2, 100, 255]  # type: ignore[index]


@pytest.mark.parametrize("source", ["tree", "map", "pixels"])
def test_splits_of_merged_classes_can_be_given_back(four: Path, tmp_path: Path, source: str) -> None:
    root, options = four, {"merge_classes": {"up": ["happy", "contempt"]}, "drop_classes": ["angry"]}
    if source == "map":
        rows = [(f"{e}/{100 * p + n}.png", e) for p, e in enumerate(EMOTIONS) for n in range(20)]
        table(four / "train.csv", "filepath,label", rows)
        (four / "label_map.json").write_text('{"sad": 0, "happiness": 1, "angry": 2, "contempt": 3}')
    if source == "pixels":
        root, options = tmp_path / "p", {"merge_classes": {"up": ["happy", "surprise"]}, "drop_classes": ["angry"]}
        table(root / "fer2013.csv", "emotion,pixels,Usage", fer_rows())
    manifest = read_manifest(root, **options)  # type: ignore[arg-type]
    write_splits(manifest, tmp_path / "splits.csv")
    again = read_manifest(root, seed=3, splits_file=tmp_path / "splits.csv", **options)  # type: ignore[arg-type]
    assert again.fingerprint() == manifest.fingerprint()
    by_name = dict(zip(manifest.names, manifest.labels, strict=True))
    if source != "tree":  # which has no order but the alphabet
        assert again.class_names == manifest.class_names
        assert dict(zip(again.names, again.labels, strict=True)) == by_name
    assert "angry" in again.describe().rpartition("; no ")[2]  # what is no longer there is said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"drop_classes": ["fear"]},
            r"names 'fear', which is no class of .* \(its classes are angry, contempt, happ",
        ),
        ({"merge_classes": {"up": ["happy", "hapy"]}}, "names 'hapy', which is no class"),
        ({"drop_classes": ["angry", "joy", "sad"]}, "leave 1 of the classes"),
        ({"merge_classes": {"any": list(EMOTIONS)}}, "leave 1 of the classes"),
        ({"merge_classes": {"up": ["happy"]}, "drop_classes": ["joy"]}, "name class 'happy' twice"),
        ({"merge_classes": {"up": ["happy"], "down": ["happiness"]}}, "name class 'happy' twice"),
        ({"merge_classes": {"up": []}}, r"`merge_classes` 'up': give a name and the classes to merge"),
    ],
)
def test_names_that_cannot_be_meant_are_refused(four: Path, options: dict[str, list[str]], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_manifest(four, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("merge_classes", {"a": ["sad"]}),
        ("drop_classes", ["sad"]),
        ("group_regex", "(x)"),
        ("layout", "rafdb"),
    ],
)
def test_drawn_faces_have_nothing_to_choose(name: str, value: object) -> None:
    with pytest.raises(UsageError, match=f"`{name}` is for data of your own"):
        _ = EmotionDataModule(**{name: value}).manifest  # type: ignore[arg-type]
