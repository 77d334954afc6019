"""CK+48: class folders whose file names carry subject and sequence, of which each has three near-identical frames."""

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from emotion_lightning.data.sources.layouts.listing import SampleList
from emotion_lightning.data.sources.layouts.trees import has_splits, read_tree
from emotion_lightning.data.sources.layouts.walk import is_image, visible_folders
from emotion_lightning.errors import DataError

_NAME = re.compile(r"(S\d{3})_\d{3}_\d{8}\.png")
"""Subject, sequence and frame."""


def is_ckplus(folder: Path) -> bool:
    """Say whether every image in the class folders is named as those of CK+48 are."""
    found = False
    for name in _image_names(folder):
        if not (found := _NAME.fullmatch(name) is not None):
            break
    return found


def read_ckplus(root: Path, folder: Path) -> SampleList:
    """List the frames, with their subject as the group.

    Raises:
        DataError: An image has another name.
    """
    listing, rows = read_tree(root, folder), []
    for row in listing.rows:
        if not (found := _NAME.fullmatch(row.name.rpartition("/")[2])):
            raise DataError(f"{root / row.name} is not named as CK+48's images are, like S010_004_00000017.png")
        rows.append(row._replace(group=found[1]))
    return replace(listing, layout="CK+48", rows=rows)


def _image_names(folder: Path) -> Iterator[str]:
    above = visible_folders(folder) if has_splits(folder) else [folder]
    for classes in above:
        for child in visible_folders(classes):
            with os.scandir(child) as entries:  # as it comes: the first name of other data ends the search
                yield from (entry.name for entry in entries if is_image(entry.name))
