"""Writes the small data sets that the tests read."""

import csv
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from PIL import Image

PIXELS = 48 * 48


def face(path: Path, number: int = 0) -> None:
    """An image whose content is ``number``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (2, 2), (number % 256, number // 256, 7)).save(path)


def faces(folder: Path, count: int, start: int = 0) -> None:
    for number in range(start, start + count):
        face(folder / f"{number}.png", number)


def table(file: Path, header: str, rows: Iterable[Iterable[object]]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="") as stream:
        stream.write(header + "\n")
        csv.writer(stream).writerows(rows)
    return file


def remove(*parts: str) -> Callable[[Path], None]:
    return lambda root: shutil.rmtree(root.joinpath(*parts))


def empty(*parts: str) -> Callable[[Path], None]:
    def act(root: Path) -> None:
        shutil.rmtree(root.joinpath(*parts), ignore_errors=True)
        root.joinpath(*parts).mkdir()

    return act


def pixels(value: int = 0) -> str:
    return " ".join([str(value)] * PIXELS)


def fer_rows() -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = [(label, pixels(label), "Training") for label in range(7)]
    return [*rows, (3, pixels(100), "PublicTest"), (6, pixels(255), "PrivateTest")]
