"""Answers print well and turn into tables."""

import sys
from math import isnan

import pytest

from emotion_lightning.errors import UsageError
from emotion_lightning.evaluation.selective import UNCERTAIN
from emotion_lightning.inference.prediction import COLUMNS, Prediction, Predictions, row

SURE = Prediction("happy", 0.8, {"angry": 0.15, "happy": 0.8, "sad": 0.05}, path="a.jpg")
UNSURE = Prediction(UNCERTAIN, 0.4, {"angry": 0.4, "happy": 0.35, "sad": 0.25})
BROKEN = Prediction(error="truncated", path="b.jpg")


def test_an_answer_prints_in_a_line() -> None:
    assert str(SURE) == "a.jpg: happy 0.800 (angry 0.150, sad 0.050)"
    assert str(UNSURE) == "uncertain, perhaps angry 0.400 (happy 0.350, sad 0.250)"
    assert str(BROKEN) == "b.jpg: no answer, truncated"


def test_without_an_answer_nothing_is_the_best() -> None:
    assert (SURE.best, UNSURE.best, BROKEN.best) == ("happy", "angry", None)
    assert BROKEN.label is None
    assert isnan(BROKEN.probability)
    assert [answer.uncertain for answer in (SURE, UNSURE, BROKEN)] == [False, True, False]


def test_a_class_may_be_called_uncertain() -> None:
    assert not Prediction(UNCERTAIN, 0.9, {UNCERTAIN: 0.9, "happy": 0.1}).uncertain


def test_answers_are_a_sequence_that_prints_as_a_table() -> None:
    answers = Predictions([SURE, UNSURE, BROKEN])
    assert (len(answers), answers[0], list(answers[1:])) == (3, SURE, [UNSURE, BROKEN])
    assert str(answers).splitlines() == [
        "       predicted  probability",
        "a.jpg  happy            0.800",
        "1      uncertain        0.400",
        "b.jpg                          truncated",
    ]
    assert repr(answers) == str(answers)
    assert str(Predictions([SURE] * 1234)).endswith("\nand 1,214 more")


def test_a_row_has_every_class_even_one_called_as_another_column() -> None:
    hostile = 'say "hi", <b>\n</b>'
    odd = {hostile: 0.3, "error": 0.5, "path": 0.2}
    found = row(Prediction("error", 0.5, odd, path="a.jpg"))
    assert list(found) == [
        "path",
        "predicted",
        "probability",
        "box",
        'say "hi", <b>\n</b>',
        "error (class)",
        "path (class)",
        "error",
    ]
    assert list(found.values()) == ["a.jpg", "error", 0.5, None, 0.3, 0.5, 0.2, None]
    assert tuple(row(BROKEN)) == COLUMNS


def test_answers_turn_into_a_table_of_pandas() -> None:
    pandas = pytest.importorskip("pandas")
    table = Predictions([BROKEN, SURE, UNSURE]).to_pandas()
    assert list(table) == ["path", "predicted", "probability", "box", "angry", "happy", "sad", "error"]
    assert table["happy"].tolist()[1:] == [0.8, 0.35]
    assert pandas.isna(table["happy"][0])
    assert table["error"].tolist()[0] == "truncated"
    assert list(Predictions([]).to_pandas()) == list(COLUMNS)


def test_without_pandas_a_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UsageError, match="pip install pandas"):
        Predictions([SURE]).to_pandas()
