"""What a data set says of its images besides their class, by which they can be grouped."""

import re
from collections.abc import Mapping, Sequence

from emotion_lightning.data.sources.layouts.listing import SampleList
from emotion_lightning.errors import UsageError

MOST_VALUES = 100
"""Most different values of a column that makes groups."""

UNKNOWN = ("", "nan", "none", "null", "<na>")
"""What a table says where it does not know, whatever the case."""

Columns = Mapping[str, tuple[str | None, ...]]


def columns_of(listing: SampleList) -> Columns:
    """Give the further columns of the tables of a listing, by name, each with its value for every image."""
    rows = [dict(row.columns) for row in listing.rows] if any(row.columns for row in listing.rows) else []
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: tuple(_known(row.get(name, "")) for row in rows) for name in names}


def _known(value: str) -> str | None:
    return None if value.casefold() in UNKNOWN else value


def column(name: str, columns: Columns, paths: Sequence[str]) -> Sequence[str | None]:
    """Give the group of each image.

    Args:
        name: A column of the tables, or ``folder:N``, the Nth folder of each path, counted from 1.
        columns: The columns of the tables.
        paths: Path of each image below the root.

    Raises:
        UsageError: There is no such column or folder, or it has too many values.
    """
    level = re.fullmatch(r"folder:([1-9]\d?)", name)
    found: Sequence[str | None]
    if level:
        place = int(level[1])
        found = [path.split("/")[place - 1] if path.count("/") >= place else None for path in paths]
        if not any(found):
            raise UsageError(f"`evaluation.groups` {name}: no image lies so deep; the first is {paths[0]}")
    elif name.casefold() in columns:
        found = columns[name.casefold()]
    else:
        there = ", ".join(columns) or "none besides the image, its class, split and subject"
        raise UsageError(
            f"`evaluation.groups` {name}: the data has no such column; there are {there}; folder:1 is the first folder "
            "of each image's path"
        )
    if (values := len(set(found) - {None})) > MOST_VALUES:
        raise UsageError(
            f"`evaluation.groups` {name} has {values:,} different values, and at most {MOST_VALUES} make groups: join "
            "them in a column of their own, such as ages by decade"
        )
    return found
