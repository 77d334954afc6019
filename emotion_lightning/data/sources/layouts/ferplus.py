"""FER+ (Barsoum et al., 2016): the votes of ten people on each image of FER2013."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from emotion_lightning.data.sources.labels import canonical_name, plain_number
from emotion_lightning.data.sources.layouts.fer2013 import VOTES_CSV, pixel_csv, read_pixels
from emotion_lightning.data.sources.layouts.listing import (
    Sample,
    SampleList,
    file_source,
    refuse_missing,
    relative_path,
    safe_join,
)
from emotion_lightning.data.sources.layouts.names import split_named
from emotion_lightning.data.sources.layouts.tables import FILE_COLUMNS, csv_rows, header_of
from emotion_lightning.data.sources.layouts.walk import visible_folders
from emotion_lightning.data.sources.splits import SPLITS, Split
from emotion_lightning.errors import DataError
from emotion_lightning.runs.files import PATH_ERRORS

EMOTIONS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
COLUMNS = (*EMOTIONS, "unknown", "nf")
"""Columns of the votes, in the order in which tables without a header have them."""

CLASSES = tuple(map(canonical_name, EMOTIONS))
_ANSWERS = (*CLASSES, "unknown", "non-face")
_NAME_COLUMNS = ("image name", *FILE_COLUMNS)
_LIST = "label.csv"


def is_ferplus(folder: Path) -> bool:
    """Say whether ``folder`` has FER+'s votes beside FER2013's pixels, or tables of images and votes.

    Votes alone are no sign: they lie beside class folders of FER2013 too, whose images do not say which row is theirs.
    """
    if folder.is_file():
        return _has_votes(folder)
    return (_votes_csv(folder) is not None and pixel_csv(folder) is not None) or bool(_tables(folder))


def read_ferplus(root: Path, folder: Path) -> SampleList:
    """List FER2013's images with FER+'s votes; the class of each is still to be counted.

    Raises:
        DataError: There are no votes or no images, or votes and images do not go together.
    """
    named = folder.is_file()
    base = folder.parent if named else folder
    votes = folder if named and _has_votes(folder) else _votes_csv(base)
    pixels = folder if named and "pixels" in header_of(folder) else pixel_csv(base)
    if votes and pixels:
        return _read_pixels(pixels, votes)
    if tables := _tables(base):
        return _read_files(base if named else root, tables)
    if votes:
        raise DataError(
            f"{votes} has FER+'s votes, but FER2013's pixels are not beside it: put fer2013.csv there, or give the "
            "folder that holds FER2013Train, FER2013Valid and FER2013Test"
        )
    raise DataError(
        f"{root} is no FER+: expected {VOTES_CSV} beside fer2013.csv, or FER2013Train, FER2013Valid and FER2013Test "
        f"with {_LIST}; `layout=auto` finds the layout by looking"
    )


def _has_votes(table: Path) -> bool:
    """Say whether a table has FER+'s columns of votes, by its header or, without one, by its first line."""
    header = header_of(table)
    return set(COLUMNS) <= set(header) or _is_unnamed(header)


def _is_unnamed(line: Sequence[str]) -> bool:
    """Say whether a line is an image's: its name, perhaps the box of the face, and ten numbers."""
    counts = line[-len(COLUMNS) :]
    return len(line) - len(counts) in (1, 2) and all(plain_number(value).isdecimal() for value in counts)


def _votes_csv(folder: Path) -> Path | None:
    """Find the table of all splits, which FER2013's Usage tells apart."""
    tables = [path for path in sorted(folder.glob("*.csv")) if {*COLUMNS, "usage"} <= set(header_of(path))]
    return next((path for path in tables if path.name == VOTES_CSV), tables[0] if tables else None)


def _tables(folder: Path) -> dict[Split, Path]:
    """Find the table of each split: label.csv in its folder, or train.csv, beside the images that they name."""
    found: dict[Split, Path] = {}
    for base in (folder, folder / "data"):  # the published code has its folders in "data"
        for path in (*visible_folders(base), *sorted(base.glob("*.csv"))) if base.is_dir() else ():
            split, table = split_named(path.stem), path / _LIST if path.is_dir() else path
            if split is None or not _has_votes(table):
                continue
            if split in found:
                raise DataError(f"{folder} has votes of {split} in both {found[split]} and {table}: take one away")
            found[split] = table
        if found:
            break
    return found


def _read_pixels(pixels: Path, votes: Path) -> SampleList:
    """Put the votes to FER2013's rows, which have the same order."""
    header, listing = header_of(votes), read_pixels(pixels)
    named = [name for name in _NAME_COLUMNS if name in header][:1]
    answers = list(csv_rows(votes, "usage", *COLUMNS, *named))
    together = f"take both files as they are published, for each row of {votes.name} is the same row's of {pixels.name}"
    if len(answers) != len(listing.rows):
        raise DataError(f"{votes} has {len(answers):,} rows, {pixels} {len(listing.rows):,}: {together}")
    rows = []
    for row, (line, (usage, *counts)) in zip(listing.rows, answers, strict=True):
        where = f"{votes} line {line}"
        if row.split is not None and split_named(usage) != row.split:
            raise DataError(f"{where}: Usage {usage!r} is not that of {row.name}, {row.split}: {together}")
        given = counts[len(COLUMNS) :]
        rows.append(row._replace(emotion="", votes=_votes(counts[: len(COLUMNS)], given[0] if given else None, where)))
    return SampleList(
        f"FER+ votes in {votes.name}, pixels in {pixels.name}",
        listing.root,
        CLASSES,
        rows,
        listing.source,
        known_files=(pixels, votes),
    )


def _read_files(root: Path, tables: Mapping[Split, Path]) -> SampleList:
    """List the images that tables name, each beside its table."""
    rows = list[Sample]()
    for split in SPLITS:
        if (table := tables.get(split)) is None:
            continue
        missing = []
        for line, name, counts in _lines(table):
            where = f"{table} line {line}"
            votes = _votes(counts, name, where)
            path = safe_join(table.parent, name, where) if name else table
            if not path.is_file():
                missing.append(f"line {line} {name!r}")
            rows.append(Sample(relative_path(path, root), "", split, votes=votes))
        refuse_missing(table, missing)
    source = file_source(root, rows)
    return SampleList("FER+ folders", root, CLASSES, rows, source, known_files=tuple(tables.values()))


def _lines(table: Path) -> Iterator[tuple[int, str, list[str]]]:
    """Yield the number of each line, the name of its image and its ten counts."""
    header = header_of(table)
    if not _is_unnamed(header):
        column = next((name for name in _NAME_COLUMNS if name in header), _NAME_COLUMNS[0])
        yield from ((line, name, counts) for line, (name, *counts) in csv_rows(table, column, *COLUMNS))
        return
    try:
        with table.open(newline="", encoding="utf-8-sig", errors=PATH_ERRORS) as stream:
            reader = csv.reader(stream)
            for row in filter(None, reader):
                yield reader.line_num, row[0].strip(), row[max(1, len(row) - len(COLUMNS)) :]
    except (OSError, csv.Error) as error:
        raise DataError(f"{table} cannot be read as a CSV file: {error}") from error


def _votes(counts: Sequence[str], name: str | None, where: str) -> dict[str, int]:
    """Return how many people gave each answer; FER+ has no use for an image to which it gives an empty ``name``."""
    numbers = [plain_number(value) for value in counts]
    if len(numbers) != len(COLUMNS) or not all(map(str.isdecimal, numbers)):
        raise DataError(f"{where}: {', '.join(counts)!r} are not the numbers of votes for {', '.join(COLUMNS)}")
    if name == "":
        return {"without a name": len(COLUMNS)}
    return {answer: int(number) for answer, number in zip(_ANSWERS, numbers, strict=True) if int(number)}
