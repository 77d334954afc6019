import pytest

from emotion_lightning.data.drawn import EMOTIONS, draw_face
from emotion_lightning.data.sources.builtin import SIZES, builtin_manifest
from emotion_lightning.data.sources.labels import canonical_name
from emotion_lightning.errors import DataError


def test_splits_are_balanced_and_labels_fit_the_pictures() -> None:
    manifest = builtin_manifest(seed=3)
    for split, size in SIZES.items():
        assert set(manifest.counts(split).values()) == {size // len(EMOTIONS)}
    for index in (0, 1, 2999, 3000, 4199):
        expected = draw_face(manifest.class_names[manifest.labels[index]], 3, index)
        assert manifest.read(index).tobytes() == expected.tobytes()


def test_labels_follow_the_order_of_a_checkpoint() -> None:
    names = ("surprise", "sad", "neutral", "joy", "fear", "anger")
    manifest = builtin_manifest(seed=3, class_names=names)
    assert manifest.class_names == names
    drawn = draw_face("angry", 3, 0)
    assert manifest.read(0).tobytes() == drawn.tobytes()
    assert names[manifest.labels[0]] == "anger"


@pytest.mark.parametrize("names", [("joy", "angry"), ("bored", "sad", "contempt"), ("anger",)], ids=str)
def test_a_model_is_measured_on_the_faces_of_the_classes_that_it_knows(names: tuple[str, ...]) -> None:
    manifest = builtin_manifest(seed=3, class_names=names, training=False)
    known = {label: canonical_name(name) for label, name in enumerate(names) if canonical_name(name) in EMOTIONS}
    assert set(manifest.labels) == set(known)
    for index in (0, 1, 3001, 4199):
        drawn = draw_face(known[manifest.labels[index]], 3, index)
        assert manifest.read(index).tobytes() == drawn.tobytes()
    with pytest.raises(DataError, match="bored"):
        builtin_manifest(seed=3, class_names=("bored", "contempt"), training=False)


@pytest.mark.parametrize("names", [("angry", "happy"), ("angry", "happy", "sad", "neutral", "fearful", "bored")])
def test_other_classes_are_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(DataError, match="class"):
        builtin_manifest(seed=3, class_names=names)
