"""Answers survive every format, whatever classes and files are called."""

import csv
import json
import sys
from dataclasses import replace
from io import BytesIO, TextIOWrapper
from math import isnan
from pathlib import Path
from typing import Any

import pytest

from emotion_lightning.errors import UsageError
from emotion_lightning.inference.prediction import Prediction
from emotion_lightning.inference.tables import ENDINGS, answers_file, answers_output, format_of

CLASSES = ["happy", 'a "quoted", name', "<b>html</b>", "two\nlines", "error", "path"]
ODD = 'odd \udcff, "file" é.png'
OURS = dict(zip(CLASSES, (0.1, 0.05, 0.2, 0.05, 0.5, 0.1), strict=True))
SURE = Prediction("error", 0.5, OURS, path=ODD, box=(0, 0, 40, 30))
UNSURE = Prediction("uncertain", 0.3, OURS | {"happy": 0.3, "error": 0.29}, path="b.png", box=(4, 5, 6, 7))
BROKEN = Prediction(error='is "damaged",\nsomehow', path="c.png")
COLUMNS = ["path", "predicted", "probability", "box", *CLASSES[:4], "error (class)", "path (class)", "error"]


def written(tmp_path: Path, format: str, *answers: Prediction) -> Path:
    file = tmp_path / f"answers{ENDINGS[format]}"
    with answers_file(file, format, CLASSES) as write:
        for answer in answers or (SURE, UNSURE, BROKEN):
            write(answer)
    return file


def check(rows: list[dict[str, Any]]) -> None:
    assert [list(row) for row in rows] == [COLUMNS] * 3
    assert [row["predicted"] or None for row in rows] == ["error", "uncertain", None]
    assert [row["error"] or None for row in rows] == [None, None, BROKEN.error]
    for row, answer in zip(rows, (SURE, UNSURE), strict=False):
        found = [float(row[name]) for name in COLUMNS[4:-1]]
        assert found == pytest.approx(list(answer.probabilities.values()))
        assert float(row["probability"]) == pytest.approx(answer.probability)


def test_csv(tmp_path: Path) -> None:
    file = written(tmp_path, "csv")
    with file.open(newline="", encoding="utf-8", errors="surrogateescape") as stream:
        rows = list(csv.DictReader(stream))
    check(rows)
    assert [row["path"] for row in rows] == [ODD, "b.png", "c.png"]
    assert {rows[2][name] for name in COLUMNS[1:-1]} == {""}
    assert [row["box"] for row in rows] == ["0,0,40,30", "4,5,6,7", ""]


def test_no_name_breaks_a_line(tmp_path: Path) -> None:
    names = ["a\rb.png", "a\nb.png", "a\r\nb.png", ' a,"b;\t.png', "\r"]
    file = written(tmp_path, "csv", *(replace(SURE, path=name) for name in names))
    with file.open(newline="", encoding="utf-8") as stream:
        assert [row["path"] for row in csv.DictReader(stream)] == names


@pytest.mark.parametrize("format", ["csv", "parquet"])
def test_every_class_has_a_column_of_its_own(tmp_path: Path, format: str) -> None:
    names = ["path", "path (class)", "error (class)", "error", "happy"]
    answer = Prediction("path", 0.6, dict(zip(names, (0.6, 0.2, 0.1, 0.07, 0.03), strict=True)), path="a.png")
    file = tmp_path / f"answers.{format}"
    parquet = pytest.importorskip("pyarrow.parquet")
    with answers_file(file, format, names) as write:
        write(answer)
    if format == "csv":
        with file.open(newline="", encoding="utf-8") as stream:
            [row] = csv.DictReader(stream)
    else:
        [row] = parquet.read_table(file).to_pylist()
    columns = ["path (class) (class)", "path (class)", "error (class)", "error (class) (class)", "happy"]
    assert list(row)[4:-1] == columns
    assert [float(row[name]) for name in columns] == pytest.approx([0.6, 0.2, 0.1, 0.07, 0.03])


def test_json_lines(tmp_path: Path) -> None:
    rows = [json.loads(line) for line in written(tmp_path, "jsonl").read_text(encoding="utf-8").splitlines()]
    assert [list(row) for row in rows] == [["path", "predicted", "probability", "probabilities", "box", "error"]] * 3
    assert [row["path"] for row in rows] == [ODD, "b.png", "c.png"]
    assert rows[1]["box"] == [4, 5, 6, 7]
    assert rows[0]["probabilities"] == SURE.probabilities
    assert rows[2] == {
        "path": "c.png",
        "predicted": None,
        "probability": None,
        "probabilities": {},
        "box": None,
        "error": BROKEN.error,
    }


def test_parquet(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(written(tmp_path, "parquet"))
    rows = table.to_pylist()
    check(rows)
    assert [row["path"] for row in rows] == ['odd \\udcff, "file" é.png', "b.png", "c.png"]
    assert [rows[2][name] for name in COLUMNS[1:-1]] == [None] * 9


def test_parquet_of_nothing_and_of_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr("emotion_lightning.inference.tables.ROWS", 4)
    assert parquet.read_table(written(tmp_path, "parquet", *[SURE] * 9)).num_rows == 9
    with answers_file(tmp_path / "none.parquet", "parquet", CLASSES):
        pass
    assert parquet.read_table(tmp_path / "none.parquet").column_names == COLUMNS


def test_parquet_without_pyarrow_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError, match=r"pip install 'emotion_lightning\[parquet\]'"):
        written(tmp_path, "parquet")
    assert list(tmp_path.iterdir()) == []


def test_deepface_finds_what_analyze_returns(tmp_path: Path) -> None:
    """A list of faces for each picture, as deepface 0.0.103 has them in modules/demography.py."""
    results = [json.loads(line) for line in written(tmp_path, "deepface").read_text(encoding="utf-8").splitlines()]
    [face] = results[0]
    assert list(face)[:4] == ["emotion", "dominant_emotion", "region", "face_confidence"]
    assert face["emotion"] == pytest.approx({name: 100 * p for name, p in SURE.probabilities.items()})
    assert face["emotion"][face["dominant_emotion"]] == 50
    assert face["region"] == {"x": 0, "y": 0, "w": 40, "h": 30, "left_eye": None, "right_eye": None}
    [unsure] = results[1]
    assert (unsure["dominant_emotion"], unsure["predicted"]) == ("happy", "uncertain")
    [broken] = results[2]
    assert (broken["emotion"], broken["dominant_emotion"], broken["region"]) == ({}, None, None)
    assert (broken["path"], broken["error"]) == ("c.png", BROKEN.error)


@pytest.mark.parametrize("format", ["deepface", "fer"])
def test_the_faces_of_a_picture_are_one_list_and_are_written_when_the_next_begins(tmp_path: Path, format: str) -> None:
    faces = [replace(SURE, part=part, score=score) for part, score in enumerate((0.875, 0.75))]
    given = [*faces, BROKEN, SURE, SURE]  # the last picture is given twice
    results = [json.loads(line) for line in written(tmp_path, format, *given).read_text("utf-8").splitlines()]
    assert [len(faces) for faces in results] == [2, 1, 1, 1]
    if format == "deepface":
        assert [face["face_confidence"] for faces in results for face in faces] == [0.875, 0.75, 0, 0, 0]


def test_fer_finds_what_detect_emotions_returns(tmp_path: Path) -> None:
    """A list of faces for each picture, as fer 25.10.3 has them in fer.py."""
    results = [json.loads(line) for line in written(tmp_path, "fer").read_text(encoding="utf-8").splitlines()]
    [face] = results[1]
    assert list(face)[:2] == ["box", "emotions"]
    assert face["box"] == [4, 5, 6, 7]
    assert max(face["emotions"], key=face["emotions"].get) == "happy"
    assert results[2] == [{"box": None, "emotions": {}, "path": "c.png", "predicted": None, "error": BROKEN.error}]


@pytest.mark.parametrize("format", ["csv", "jsonl", "deepface"])
def test_standard_output_is_written_as_a_file_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: str) -> None:
    output = BytesIO()
    monkeypatch.setattr(sys, "stdout", TextIOWrapper(output, "ascii"))
    with answers_output(format, CLASSES) as write:
        for answer in (SURE, UNSURE, BROKEN):
            write(answer)
    sys.stdout.flush()
    assert output.getvalue() == written(tmp_path, format).read_bytes()


def test_a_file_that_is_not_finished_does_not_replace_the_old_one(tmp_path: Path) -> None:
    file = written(tmp_path, "csv", SURE)
    before = file.read_bytes()
    with pytest.raises(ValueError, match="dict contains fields"), answers_file(file, "csv", CLASSES[:2]) as write:
        write(SURE)
    assert file.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("output", "format", "expected"),
    [
        (None, None, "csv"),
        (None, "fer", "fer"),
        ("a.csv", None, "csv"),
        ("a.JSONL", None, "jsonl"),
        ("a.parquet", None, "parquet"),
        ("a.jsonl", "deepface", "deepface"),
    ],
)
def test_the_format_is_that_of_the_ending(output: str | None, format: str | None, expected: str) -> None:
    assert format_of(None if output is None else Path(output), format) == expected


@pytest.mark.parametrize(
    ("output", "format", "said"),
    [
        ("a.txt", None, r"`output` a\.txt must end in \.csv or \.jsonl or \.parquet"),
        ("a", "csv", r"`output` a must end in \.csv, as `format` csv is given"),
        ("a.csv", "fer", r"must end in \.jsonl, as `format` fer"),
        (None, "parquet", "`format` parquet needs `output`"),
        (None, "xml", "`format` 'xml' is none of csv, jsonl, parquet, deepface, fer"),
    ],
)
def test_a_format_that_does_not_go_with_the_output_is_refused(
    output: str | None, format: str | None, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        format_of(None if output is None else Path(output), format)


def test_no_number_is_no_number(tmp_path: Path) -> None:
    assert isnan(BROKEN.probability)
    assert "nan" not in written(tmp_path, "csv").read_text(errors="replace").lower()
    assert "nan" not in written(tmp_path, "jsonl").read_text(errors="replace").lower()
