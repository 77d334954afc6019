"""FER2013: CSV files whose rows are the pixels themselves, or the folders in which it is shared."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from emotion_lightning.data.images.decode import PixelRows
from emotion_lightning.data.sources.labels import FER2013_CLASSES, plain_number
from emotion_lightning.data.sources.layouts.listing import Sample, SampleList
from emotion_lightning.data.sources.layouts.tables import csv_rows, header_of
from emotion_lightning.data.sources.layouts.trees import has_splits, read_split_tree
from emotion_lightning.data.sources.splits import Split
from emotion_lightning.errors import DataError

PIXEL_CSVS = ("fer2013.csv", "icml_face_data.csv")
VOTES_CSV = "fer2013new.csv"
"""FER+'s table, whose labels come instead of those of FER2013 where it lies beside the pixels."""

_USAGES: dict[str, Split] = {"training": "train", "publictest": "val", "privatetest": "test"}
_PREFIXES = ("Training_", "PublicTest_", "PrivateTest_")
_SIDE = 48


def read_fer2013(root: Path, folder: Path) -> SampleList:
    """List FER2013 as a CSV file or as shared folders, whose files are named after the splits.

    Raises:
        DataError: It is neither, or a row is not as it should be.
    """
    if file := pixel_csv(folder):
        beside = file.with_name(VOTES_CSV)
        unused = (f"{VOTES_CSV} beside it is not used; `layout=ferplus` takes its labels",) * beside.is_file()
        return replace(read_pixels(file), notes=unused, known_files=(file, beside))
    if has_splits(folder):
        listing = read_split_tree(root, folder)
        if all(row.name.rpartition("/")[2].startswith(_PREFIXES) for row in listing.rows):
            return listing
    raise DataError(
        f"{root} is no FER2013: expected {' or '.join(PIXEL_CSVS)}, or train and test folders of Training_*.jpg, "
        "PublicTest_*.jpg and PrivateTest_*.jpg; `layout=auto` finds the layout by looking"
    )


def pixel_csv(folder: Path) -> Path | None:
    """Return ``folder`` if it is itself a file, or the FER2013 CSV in it unless it has a manifest of files."""
    if folder.is_file():
        return folder
    manifest = header_of(folder / "train.csv")  # the challenge's has pixels
    if "filepath" in manifest:
        return None
    if file := next((folder / name for name in PIXEL_CSVS if (folder / name).is_file()), None):
        return file
    return folder / "train.csv" if {"emotion", "pixels"} <= set(manifest) else None


def read_pixels(file: Path) -> SampleList:
    """List the rows of fer2013.csv or icml_face_data.csv."""
    rows, pixels = [], []
    classes = {str(index): name for index, name in enumerate(FER2013_CLASSES)}
    columns = ("emotion", "pixels", *(["usage"] if "usage" in header_of(file) or file.name != "train.csv" else []))
    for line, (label, values, *given) in csv_rows(file, *columns):
        where, emotion, usage = f"{file} line {line}", plain_number(label), given[0] if given else ""
        if given and usage.casefold() not in _USAGES:
            raise DataError(f"{where}: Usage {usage!r} is none of Training, PublicTest, PrivateTest: correct it")
        if emotion not in classes:
            raise DataError(f"{where}: emotion {emotion!r} is no number from 0 to {len(classes) - 1}: correct it")
        rows.append(Sample(f"{file.name}:{line}", classes[emotion], _USAGES[usage.casefold()] if given else None))
        pixels.append(_parse_pixels(values, where))
    if not rows:
        raise DataError(f"{file} has no rows: give a file with images")
    source = PixelRows(np.stack(pixels))
    return SampleList(f"pixels in {file.name}", file.parent, FER2013_CLASSES, rows, source, known_files=(file,))


def _parse_pixels(values: str, where: str) -> npt.NDArray[np.uint8]:
    if not (values.isascii() and values.replace(" ", "").isdigit()):
        raise DataError(f"{where}: its pixels are not whole numbers divided by blanks: correct it")
    numbers = np.fromstring(values, np.int64, sep=" ")
    if len(numbers) != _SIDE * _SIDE:
        raise DataError(f"{where} has {len(numbers):,} pixels, expected {_SIDE * _SIDE:,}: correct it")
    if numbers.max() > 255:
        raise DataError(f"{where} has a pixel of {numbers.max()}, above 255: correct it")
    return numbers.astype(np.uint8).reshape(_SIDE, _SIDE)
