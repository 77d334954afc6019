"""Answers as rows of a file, or of standard output, that are written as they come."""

import csv
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from math import isnan
from pathlib import Path
from typing import Any, TextIO

from emotion_lightning.errors import UsageError, check_choice
from emotion_lightning.inference.prediction import COLUMNS, Prediction, columns_of, row
from emotion_lightning.runs.files import PATH_ERRORS, atomic_write

Write = Callable[[Prediction], object]

ROWS = 4096
"""Rows that are kept until they are written to a Parquet file as one group."""

DIGITS = 6
"""Digits of a probability behind the point where it is written as text."""

ENDINGS = {"csv": ".csv", "jsonl": ".jsonl", "parquet": ".parquet", "deepface": ".jsonl", "fer": ".jsonl"}
"""Formats, and how a file of each ends."""


def format_of(output: Path | None, format: str | None) -> str:
    """Return the format that is asked for: the given one, or the one that the file's ending says, or CSV.

    Raises:
        UsageError: There is no such format, or it does not go with ``output``.
    """
    check_choice("format", format or "csv", ENDINGS)
    if output is None:
        if format == "parquet":
            raise UsageError("`format` parquet needs `output`, a file")
        return format or "csv"
    suffix = output.suffix.lower()
    if format is None and suffix in ENDINGS.values():
        return next(name for name, ending in ENDINGS.items() if ending == suffix)
    if format is None or suffix != ENDINGS[format]:
        endings = " or ".join(dict.fromkeys(ENDINGS.values())) if format is None else ENDINGS[format]
        raise UsageError(f"`output` {output} must end in {endings}{f', as `format` {format} is given' * bool(format)}")
    return format


@contextmanager
def answers_file(path: Path, format: str, class_names: Sequence[str]) -> Iterator[Write]:
    """Give a function that writes an answer; when the block ends without an error, the file is in place.

    Args:
        path: The file.
        format: One of ``ENDINGS``.
        class_names: The classes, in the order of their columns.

    Raises:
        DataError: The file cannot be written.
        UsageError: pyarrow is needed and not installed.
    """
    with atomic_write(path) as temporary:
        if format == "parquet":
            with _parquet(temporary, class_names) as write:
                yield write
            return
        errors = PATH_ERRORS if format == "csv" else "backslashreplace"  # JSON has its own way to write any bytes
        with (
            temporary.open("w", newline="", encoding="utf-8", errors=errors) as stream,
            _writer(stream, format, class_names) as write,
        ):
            yield write


@contextmanager
def answers_output(format: str, class_names: Sequence[str]) -> Iterator[Write]:
    """Give a function that writes an answer to standard output, where the last are when the block ends."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(
            encoding="utf-8", errors=PATH_ERRORS if format == "csv" else "backslashreplace", newline=""
        )
    with _writer(sys.stdout, format, class_names) as write:
        yield write


@contextmanager
def _writer(stream: TextIO, format: str, class_names: Sequence[str]) -> Iterator[Write]:
    if format == "csv":
        columns = _columns(class_names)
        writer = csv.DictWriter(
            stream, columns, restval=""
        )  # its lines end in \r\n, without which a \r is left unquoted
        writer.writeheader()
        yield lambda answer: writer.writerow({name: _cell(value) for name, value in row(answer).items()})
    elif format == "jsonl":
        yield lambda answer: _write_line(stream, _plain(answer))
    else:
        with _lists(stream, {"deepface": _as_deepface, "fer": _as_fer}[format]) as write:
            yield write


@contextmanager
def _lists(stream: TextIO, shape: Callable[[Prediction], object]) -> Iterator[Write]:
    """Write the answers for the parts of one picture as one list, as soon as the next picture begins."""
    faces: list[object] = []

    def write(answer: Prediction) -> None:
        if answer.part == 0 and faces:
            _write_line(stream, faces)
            faces.clear()
        faces.append(shape(answer))

    yield write
    if faces:
        _write_line(stream, faces)


def _write_line(stream: TextIO, value: object) -> None:
    stream.write(f"{json.dumps(value, ensure_ascii=False, allow_nan=False)}\n")


def _columns(class_names: Sequence[str]) -> list[str]:
    return [*COLUMNS[:-1], *columns_of(class_names), COLUMNS[-1]]


def _cell(value: object) -> object:
    if isinstance(value, float):
        return "" if isnan(value) else f"{value:.{DIGITS}f}"
    return value


def _plain(answer: Prediction) -> Mapping[str, Any]:
    return {
        "path": answer.path,
        "predicted": answer.label,
        "probability": None if isnan(answer.probability) else round(answer.probability, DIGITS),
        "probabilities": _rounded(answer),
        "box": answer.box,
        "error": answer.error,
    }


def _rounded(answer: Prediction) -> dict[str, float]:
    return {name: round(probability, DIGITS) for name, probability in answer.probabilities.items()}


def _own(answer: Prediction) -> dict[str, Any]:
    """Return what other libraries have no place for."""
    return {"path": answer.path, "predicted": answer.label, "error": answer.error}


def _as_deepface(answer: Prediction) -> dict[str, Any]:
    """Return what ``DeepFace.analyze(path, actions=["emotion"])`` has for each face of a picture, and what is ours.

    It has emotions in percent, and a ``face_confidence`` of 0 where no face was looked for.
    """
    region = None
    if answer.box is not None:
        region = {**dict(zip("xywh", map(int, answer.box), strict=True)), "left_eye": None, "right_eye": None}
    emotion = {name: round(100 * probability, DIGITS - 2) for name, probability in answer.probabilities.items()}
    found = {
        "emotion": emotion,
        "dominant_emotion": answer.best,
        "region": region,
        "face_confidence": round(answer.score or 0.0, DIGITS),
    }
    return found | _own(answer)


def _as_fer(answer: Prediction) -> dict[str, Any]:
    """Return what ``FER().detect_emotions(path)`` has for each face of a picture, and what is ours."""
    box = None if answer.box is None else list(map(int, answer.box))
    return {"box": box, "emotions": _rounded(answer)} | _own(answer)


@contextmanager
def _parquet(path: Path, class_names: Sequence[str]) -> Iterator[Write]:
    try:
        import pyarrow
        from pyarrow.parquet import ParquetWriter
    except ImportError as error:
        raise UsageError("a Parquet file needs pyarrow: pip install 'emotion_lightning[parquet]'") from error
    texts = ("path", "predicted", "box", "error")
    columns = _columns(class_names)
    schema = pyarrow.schema([(name, pyarrow.string() if name in texts else pyarrow.float64()) for name in columns])
    waiting: list[Prediction] = []

    def flush(writer: Any) -> None:
        rows = [{name: _value(value) for name, value in row(answer).items()} for answer in waiting]
        writer.write_table(pyarrow.Table.from_pylist(rows, schema))
        waiting.clear()

    def write(answer: Prediction) -> None:
        waiting.append(answer)
        if len(waiting) == ROWS:
            flush(writer)

    with ParquetWriter(path, schema) as writer:
        yield write
        flush(writer)


def _value(value: object) -> object:
    """Return what Parquet can hold: no number that is none, no text that is no UTF-8."""
    if isinstance(value, float):
        return None if isnan(value) else value
    return value if value is None else str(value).encode("utf-8", "backslashreplace").decode()
