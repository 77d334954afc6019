"""Data sets whose file names say who shows what, KDEF and JAFFE: no folder of a class is needed."""

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from emotion_lightning.data.sources.layouts.listing import (
    Sample,
    SampleList,
    file_source,
    relative_path,
    unique_class_names,
)
from emotion_lightning.data.sources.layouts.names import split_named
from emotion_lightning.data.sources.layouts.trees import has_emotions, has_splits, read_tree
from emotion_lightning.data.sources.layouts.walk import files_below, images_below, is_image, visible_folders
from emotion_lightning.errors import DataError

_TAIL = r"(?:[ _.(-].*)?"
"""What shared copies add to a name before its suffix: "_flip", " (1)", ".tiff" of a file that became ".tiff.bmp"."""

MOST_OTHERS = 200
"""Images of other names after which a folder is not looked through to its end."""


class Naming(NamedTuple):
    """How a data set names its images.

    Attributes:
        layout: Name of the data set.
        example: A name, for messages.
        names: Matches the name without its suffix, in upper case; has the groups ``subject`` and ``emotion``.
        emotions: Emotion that each code means.
    """

    layout: str
    example: str
    names: re.Pattern[str]
    emotions: Mapping[str, str]

    def match(self, name: str) -> re.Match[str] | None:
        """Match a file name."""
        return self.names.fullmatch(os.path.splitext(name)[0].upper())


KDEF = Naming(
    "KDEF",
    "AF01ANS.JPG",  # session, sex, number, emotion, angle; a person is the same in both sessions
    re.compile(
        rf"[AB](?P<subject>[FM](?:0[1-9]|[12]\d|3[0-5]))(?P<emotion>AF|AN|DI|HA|NE|SA|SU)(?:FL|HL|S|HR|FR){_TAIL}"
    ),
    {
        "AF": "fear",
        "AN": "angry",
        "DI": "disgust",
        "HA": "happy",
        "NE": "neutral",
        "SA": "sad",
        "SU": "surprise",
    },
)
"""Karolinska Directed Emotional Faces (Lundqvist, Flykt and Öhman, 1998): 70 people, 7 emotions, 5 angles, twice."""

JAFFE = Naming(
    "JAFFE",
    "KA.AN1.39.tiff",  # subject, emotion and which of several, number
    re.compile(rf"(?P<subject>[A-Z]{{2}})\.(?P<emotion>AN|DI|FE|HA|NE|SA|SU)\d?\.\d{{1,3}}{_TAIL}"),
    {
        "AN": "angry",
        "DI": "disgust",
        "FE": "fear",
        "HA": "happy",
        "NE": "neutral",
        "SA": "sad",
        "SU": "surprise",
    },
)
"""Japanese Female Facial Expression (Lyons et al., 1998): 213 images of 10 people."""


def is_named(folder: Path, naming: Naming) -> bool:
    """Say whether most images below ``folder``, which is no mere wrapper of another, are named so."""
    entries = visible_folders(folder)
    if len(entries) == 1 and not has_splits(folder) and not any(is_image(path.name) for path in folder.iterdir()):
        return False
    fit = others = 0
    for path, *_ in files_below(folder):
        name = os.path.basename(path)
        if is_image(name):
            fit, others = (fit + 1, others) if naming.match(name) else (fit, others + 1)
            if others > max(fit, MOST_OTHERS):
                return False
    return fit > others


def read_named(root: Path, folder: Path, naming: Naming) -> SampleList:
    """List the images with their subject as the group.

    The class is that of the folder where the folders are emotions, else of the file's name. Images of other names have
    no group in the first case, and are not read in the second.

    Raises:
        DataError: No image is named so.
    """
    if has_emotions(folder):
        listing = read_tree(root, folder)
        rows = [row._replace(group=_subject(row.name, naming)) for row in listing.rows]
        if any(row.group for row in rows):
            return replace(listing, layout=f"{naming.layout} in {listing.layout}", rows=rows)
    rows = []
    for path in images_below(folder):
        if found := naming.match(path.name):
            below = relative_path(path, folder).split("/")[:-1]
            split = next((split for name in below if (split := split_named(name))), None)
            rows.append(Sample(relative_path(path, root), naming.emotions[found["emotion"]], split, found["subject"]))
    if not rows:
        raise DataError(
            f"{root} is no {naming.layout}: no image is named like {naming.example}; "
            "`layout=auto` finds the layout by looking"
        )
    inside, outside = ([row.name for row in rows if (row.split is None) is alone] for alone in (False, True))
    if inside and outside:
        raise DataError(
            f"{root} has images in folders of splits, such as {inside[0]}, and others that are in none, such as "
            f"{outside[0]}: move these into a split, or all into one folder"
        )
    names = unique_class_names((row.emotion for row in rows), root)
    return SampleList(naming.layout, root, names, rows, file_source(root, rows))


def _subject(name: str, naming: Naming) -> str | None:
    found = naming.match(name.rpartition("/")[2])
    return found["subject"] if found else None
