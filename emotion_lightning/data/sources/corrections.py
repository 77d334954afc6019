"""Corrections of labels, as people gave them who looked at the images: read, checked and applied to a manifest."""

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from emotion_lightning.data.sources.labels import canonical_name, class_ids
from emotion_lightning.data.sources.manifest import SPLITS, Manifest
from emotion_lightning.errors import DataError
from emotion_lightning.runs.files import PATH_ERRORS

COLUMNS = ("filepath", "hash", "label", "new_label", "reason")
"""Columns of the file; an empty new label leaves the image out, and that of the data confirms it."""


class Correction(NamedTuple):
    """One row of the file, and where it stands there."""

    where: str
    name: str
    digest: str
    old: str
    new: str
    reason: str


def read_corrections(file: Path) -> list[Correction]:
    """Read a file of corrections.

    Raises:
        DataError: It cannot be read, or lacks a column.
    """
    try:
        with file.open(newline="", encoding="utf-8-sig", errors=PATH_ERRORS) as stream:
            reader = csv.DictReader(stream, restval="")
            if missing := [name for name in COLUMNS[:4] if name not in (reader.fieldnames or ())]:
                raise DataError(f"{file} has no column {missing[0]!r}: give what the pages of review save")
            return [
                Correction(f"{file} row {number}", *(row.get(name, "") for name in COLUMNS))
                for number, row in enumerate(reader, start=2)
            ]
    except (OSError, csv.Error) as error:
        raise DataError(f"{file} cannot be read: {error}") from error


def correct(manifest: Manifest, digests: Sequence[str], file: Path) -> Manifest:
    """Give images the labels that ``file`` has for them, and leave those out that it excludes; splits stay.

    Args:
        manifest: The images, their splits cut.
        digests: Hash of the content of each.
        file: What :func:`read_corrections` takes.

    Raises:
        DataError: A row is of an unknown image or class, of other content or of another label than the image has, or
            contradicts another row.
    """
    answers = dict(_answers(manifest, digests, read_corrections(file)))
    labels, votes = list(manifest.labels), None if manifest.votes is None else list(manifest.votes)
    for place, label in answers.items():
        if label is None or label == labels[place]:
            continue
        labels[place] = label
        if votes is not None:
            votes[place] = tuple(int(each == label) for each in range(len(manifest.class_names)))
    excluded = frozenset(place for place, label in answers.items() if label is None)
    changed = [place for place, label in enumerate(labels) if label != manifest.labels[place]]
    same = len(answers) - len(changed) - len(excluded)
    said = (
        f"labels of {_counted(manifest, changed)} changed, {_counted(manifest, excluded)} left out, {same:,} confirmed"
    )
    return replace(
        manifest,
        labels=tuple(labels),
        votes=None if votes is None else tuple(votes),
        given=manifest.labels,
        excluded=excluded,
        notes=(*manifest.notes, f"{file.name}: {said}"),
    )


def _answers(
    manifest: Manifest, digests: Sequence[str], corrections: Iterable[Correction]
) -> Iterator[tuple[int, int | None]]:
    """Yield the position of each corrected image and its new label, None to leave it out; refuse wrong rows."""
    places, classes = {name: place for place, name in enumerate(manifest.names)}, class_ids(manifest.class_names)
    found: dict[int, int | None] = {}
    for where, name, digest, old, new, _ in corrections:
        place = places.get(name)
        if place is None:
            raise DataError(f"{where}: {name!r} is no image of {manifest.root}; correct the path or remove the row")
        if digest != digests[place]:
            raise DataError(f"{where}: {name} has changed since it was looked at; look again, or remove the row")
        if classes.get(canonical_name(old)) != manifest.labels[place]:
            known = manifest.class_names[manifest.labels[place]]
            raise DataError(f"{where}: {name} has the label {known!r}, not {old!r}; look again, or remove the row")
        label = classes.get(canonical_name(new)) if new else None
        if new and label is None:
            raise DataError(f"{where}: {new!r} is none of the classes {', '.join(manifest.class_names)}; correct it")
        if found.setdefault(place, label) != label:
            raise DataError(f"{where}: {name} has another answer in an earlier row; keep one of them")
        yield place, label


def _counted(manifest: Manifest, places: Iterable[int]) -> str:
    """Say how many, and of which splits."""
    counts = Counter(manifest.splits[place] for place in places)
    splits = ", ".join(f"{counts[split]:,} {split}" for split in SPLITS if counts[split])
    images = "image" if counts.total() == 1 else "images"
    return f"{counts.total():,} {images}" + f" ({splits})" * bool(splits)
