"""YOLO: a text file for each image, whose lines are a class and the box of a face; ``data.yaml`` names the classes."""

from collections import Counter
from pathlib import Path
from typing import NamedTuple

from emotion_lightning.data.images.region import Region, file_of, with_region
from emotion_lightning.data.sources.layouts.contents import what_is_in
from emotion_lightning.data.sources.layouts.listing import (
    Sample,
    SampleList,
    file_source,
    relative_path,
    unique_class_names,
)
from emotion_lightning.data.sources.layouts.names import split_named
from emotion_lightning.data.sources.layouts.tables import has_class_folders
from emotion_lightning.data.sources.layouts.walk import files_below, images_below, is_image, visible_folders
from emotion_lightning.data.sources.layouts.yolo_labels import NAME_LISTS, Box, class_names, read_faces
from emotion_lightning.data.sources.splits import Split
from emotion_lightning.errors import DataError

_WHOLE = 0.005
"""Share of a side that a box may lack to be taken for the whole image."""


class _Part(NamedTuple):
    """A folder of images, that of their labels, and the split they are of."""

    images: Path
    labels: Path
    split: Split | None


def is_yolo(folder: Path) -> bool:
    """Say whether ``folder`` has folders of images and of text files, one for each image, or both in one."""
    return any(_texts(part.labels) for part in _parts(folder))


def read_yolo(root: Path, folder: Path) -> SampleList:
    """List every face that the labels name, cut out of its image unless its box is all of it.

    What has no label, no box or several classes is left out and counted.

    Raises:
        DataError: There are no such folders, nothing names the classes, or a line of a label is not as it should be.
    """
    if not (parts := _parts(folder)):
        raise DataError(
            f"{root} is no YOLO data: expected images and labels in {{train,valid,test}}/, or {{train,val,test}} in "
            "images/ and labels/; `layout=auto` finds the layout by looking"
        )
    names = class_names(root, folder, [part.labels for part in parts])
    rows, known, counts = list[Sample](), list[Path](), Counter[str]()
    for images, labels, split in parts:
        texts, used = _texts(labels), set[Path]()
        for path in images_below(images):
            label = (labels / path.relative_to(images)).with_suffix(".txt")
            faces = read_faces(label, names, counts) if label in texts else []
            used.add(label)
            name = relative_path(path, root)
            rows += [Sample(_cut(name, box), emotion, split) for box, emotion in faces]
            if not faces:
                counts["left out {} images without a face that has one label"] += 1
                known.append(path)
            counts["{} images with several faces"] += len(faces) > 1
        counts["{} labels without an image"] += len(texts - used)
    if not rows:
        raise DataError(
            f"{root} has no image with a label: labels/x.txt must say what images/x.jpg shows; {what_is_in(folder)}"
        )
    counts["{} faces cut out by their boxes"] = sum(file_of(Path(row.name)) != Path(row.name) for row in rows)
    notes = tuple(text.format(f"{count:,}") for text, count in counts.items() if count)
    classes = unique_class_names((row.emotion for row in rows if row.split in (None, "train")), folder)
    return SampleList("YOLO labels", root, classes, rows, file_source(root, rows), notes, tuple(known))


def _parts(folder: Path) -> list[_Part]:
    children = {child.name.casefold(): child for child in visible_folders(folder)}
    if {"images", "labels"} <= children.keys():
        images, labels = children["images"], children["labels"]
        splits = {child: split for child in visible_folders(images) if (split := split_named(child.name))}
        return [_Part(child, labels / child.name, split) for child, split in splits.items()] or [
            _Part(images, labels, None)
        ]
    found = []
    for child in children.values():
        if split := split_named(child.name):
            inner = {path.name.casefold(): path for path in visible_folders(child)}
            if {"images", "labels"} <= inner.keys():
                found.append(_Part(inner["images"], inner["labels"], split))
            elif _is_mixed(child):
                found.append(_Part(child, child, split))
    return found or ([_Part(folder, folder, None)] if _is_mixed(folder) else [])


def _is_mixed(folder: Path) -> bool:
    """Say whether images lie beside their labels."""
    if has_class_folders(folder):  # beside them an image and a text may be about anything
        return False
    return any(is_image(path.name) and path.with_suffix(".txt").is_file() for path in folder.iterdir())


def _texts(labels: Path) -> set[Path]:
    if not labels.is_dir():
        return set()
    found = (Path(path) for path, *_ in files_below(labels))
    return {path for path in found if path.suffix == ".txt" and path.name not in NAME_LISTS}


def _cut(name: str, box: Box) -> str:
    left, top, right, bottom = (100 * edge for edge in box)
    if max(left, top, 100 - right, 100 - bottom) <= 100 * _WHOLE:
        return name
    return with_region(name, Region(True, left, top, right - left, bottom - top))
