"""ExpW: a list of faces, each a box in an image that may show several people."""

import re
from collections import Counter
from pathlib import Path

from emotion_lightning.data.images.region import Region, with_region
from emotion_lightning.data.sources.layouts.contents import what_is_in
from emotion_lightning.data.sources.layouts.listing import (
    Sample,
    SampleList,
    file_source,
    refuse_missing,
    relative_path,
    safe_join,
    text_of,
    unique_class_names,
)
from emotion_lightning.data.sources.layouts.walk import is_image
from emotion_lightning.errors import DataError

CLASSES = {
    "0": "angry",
    "1": "disgust",
    "2": "fear",
    "3": "happy",
    "4": "sad",
    "5": "surprise",
    "6": "neutral",
}
"""ExpW's ids and the emotions they mean."""

LIST = "label.lst"
_LISTS = ("", "label", "labels", "data/label", "data")
_IMAGES = ("image/origin", "image", "origin", "images", "data/image/origin", "data/image", "")
_LINE = re.compile(r"(.+?)[ \t,]+\d+" + 5 * r"[ \t,]+(-?\d+(?:\.\d+)?)" + r"[ \t,]+([0-6])")
"""Image, number of the face in it, top, left, right and bottom of its box, confidence of the box, label."""


def is_expw(folder: Path) -> bool:
    """Say whether ``folder`` has ExpW's list."""
    return _find_list(folder) is not None


def read_expw(root: Path, folder: Path) -> SampleList:
    """List the faces of ``label.lst``, each cut out of its image.

    Raises:
        DataError: There is no such list, a line of it is not as it should be, or names an image that is missing.
    """
    if (file := _find_list(folder)) is None:
        raise DataError(f"{root} is no ExpW: expected {LIST} and its images; `layout=auto` finds the layout by looking")
    images = _find_images(folder, file)
    rows, missing, faces, empty = list[Sample](), list[str](), Counter[str](), 0
    for number, line in enumerate(text_of(file).splitlines(), 1):
        if not line.strip():
            continue
        where = f"{file} line {number}"
        image, region, emotion = _face(line.strip(), where)
        path = safe_join(images, image, where)
        name = relative_path(path, root)
        if name not in faces and not path.is_file():
            missing.append(f"line {number} {image!r}")
        faces[name] += 1
        if region.width > 0 and region.height > 0:
            rows.append(Sample(with_region(name, region), emotion, None))
        else:
            empty += 1
    if missing and len(missing) == len(faces):
        raise DataError(f"{file}: none of the images that it names is there; {what_is_in(folder)}")
    refuse_missing(file, missing)
    if not rows:
        raise DataError(f"{file} has no faces: unpack it anew")
    notes = (f"{len(rows):,} faces cut out of {len(faces):,} images", f"left out {empty:,} empty boxes")
    names = unique_class_names((row.emotion for row in rows), file)
    return SampleList("ExpW", root, names, rows, file_source(root, rows), notes[: 1 + (empty > 0)], (file,))


def _face(line: str, where: str) -> tuple[str, Region, str]:
    """Read the image, the box and the emotion of a line."""
    if not (found := _LINE.fullmatch(line)):
        raise DataError(
            f"{where}: {line!r} is no image, number of the face, top, left, right, bottom, confidence and label from "
            "0 to 6: correct it"
        )
    top, left, right, bottom = (max(float(value), 0.0) for value in found.groups()[1:5])
    return found[1], Region(False, left, top, right - left, bottom - top), CLASSES[found[7]]


def _find_list(folder: Path) -> Path | None:
    return next((folder / place / LIST for place in _LISTS if (folder / place / LIST).is_file()), None)


def _find_images(folder: Path, file: Path) -> Path:
    """Find the folder with the image of the list's first line, or else one with images."""
    first = next((line.split()[0] for line in text_of(file).splitlines() if line.strip()), "")
    places = [folder / place for place in _IMAGES if (folder / place).is_dir()]
    named = [place for place in places if (place / first).is_file()]
    filled = [place for place in places if any(is_image(path.name) for path in place.iterdir())]
    return (*named, *filled, folder)[0]
