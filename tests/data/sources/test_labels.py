import pytest

from emotion_lightning.data.sources.labels import FER2013_CLASSES, canonical_name, class_ids, labels_of
from emotion_lightning.errors import DataError


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("anger", "angry"),
        (" Angry ", "angry"),
        ("DISGUSTED", "disgust"),
        ("fearful", "fear"),
        ("Happiness", "happy"),
        ("joy", "happy"),
        ("sadness", "sad"),
        ("surprised", "surprise"),
        ("neutral", "neutral"),
        ("Contempt", "contempt"),
        ("Bored", "bored"),
    ],
)
def test_aliases_case_and_blanks_do_not_count(name: str, expected: str) -> None:
    assert canonical_name(name) == expected


def test_composed_and_decomposed_letters_are_the_same_name() -> None:
    assert canonical_name("col\u00e8re") == canonical_name("cole\u0300re")


def test_different_emotions_are_different_classes() -> None:
    assert canonical_name("Joy") == canonical_name("happy")
    assert canonical_name("joy") != canonical_name("sad")
    assert len({canonical_name(name) for name in FER2013_CLASSES}) == 7


def test_names_are_mapped_by_name_onto_any_order() -> None:
    assert labels_of(["anger", "Joy", "angry"], ("happiness", "angry")) == [1, 0, 1]


def test_unknown_name_is_an_error_that_says_which() -> None:
    with pytest.raises(DataError, match=r"no such class: bored \(the classes are happy, sad\)"):
        labels_of(["joy", "bored"], ("happy", "sad"))


def test_two_names_of_one_class_are_an_error() -> None:
    with pytest.raises(DataError, match="'angry' and 'Anger'"):
        class_ids(["angry", "sad", "Anger"])
