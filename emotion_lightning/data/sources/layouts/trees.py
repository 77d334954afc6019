"""Folder trees: a folder for each class, within a folder for each split or without."""

import os
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from emotion_lightning.data.sources.labels import FER2013_CLASSES, canonical_name, is_emotion
from emotion_lightning.data.sources.layouts.contents import what_is_in
from emotion_lightning.data.sources.layouts.listing import (
    Sample,
    SampleList,
    file_source,
    relative_path,
    unique_class_names,
)
from emotion_lightning.data.sources.layouts.names import split_named
from emotion_lightning.data.sources.layouts.walk import images_below, visible_folders
from emotion_lightning.data.sources.splits import Split
from emotion_lightning.errors import DataError

_CLASSES = {*FER2013_CLASSES, "contempt"}


def has_splits(folder: Path) -> bool:
    """Say whether ``folder`` has a folder of a split."""
    return any(split_named(child.name) for child in visible_folders(folder))


def has_emotions(folder: Path) -> bool:
    """Say whether a folder where classes are expected, in ``folder`` or in its splits, is named as an emotion."""
    above = visible_folders(folder) if has_splits(folder) else [folder]
    return any(is_emotion(child.name) for classes in above for child in visible_folders(classes))


def read_tree(root: Path, folder: Path) -> SampleList:
    """List ``folder/{train,val,test}/<class>/**`` or, without folders of splits, ``folder/<class>/**``."""
    if has_splits(folder):
        return read_split_tree(root, folder)
    names, rows = read_classes(root, folder, None, required=True)
    return SampleList("folder tree without splits", root, names, rows, file_source(root, rows))


def refuse_numbers(listing: SampleList) -> SampleList:
    """Refuse class folders that are numbers, which mean other emotions in every data set; or return ``listing``."""
    if not all(name.isdecimal() for name in listing.class_names):
        return listing
    raise DataError(
        f"{listing.root}: the class folders are numbers ({', '.join(listing.class_names)}), whose meaning cannot be "
        "seen: `layout=rafdb` or affectnet decides, or tree, which keeps the numbers as names"
    )


def refuse_levels(listing: SampleList, folder: Path) -> SampleList:
    """Refuse a tree whose classes or splits seem to be a level deeper than the folders taken for classes.

    Raises:
        DataError: The sub-folders of the classes are splits; or no class is a known emotion, and their sub-folders are,
            or are the same for all, or the folder itself is named as one.
    """
    inner = defaultdict[str, set[str]](set)
    depth = len(folder.relative_to(listing.root).parts) + has_splits(folder)
    for row in listing.rows:
        parts = row.name.split("/")
        inner[row.emotion].add(parts[depth + 1] if len(parts) > depth + 2 else "")
    names = sorted(set().union(*inner.values()) - {""})
    alike = len(names) > 1 and len(set(map(frozenset, inner.values()))) == 1
    known = any(map(is_emotion, inner))
    if any(map(split_named, names)) or (not known and (alike or any(map(is_emotion, names)))):
        raise DataError(
            f"{listing.root}: the folders {_some(inner)} would be classes, but have the sub-folders {_some(names)}; "
            "give one of these folders, or arrange the images as <split>/<class>/* or <class>/*, or give `layout=tree` "
            "to keep these classes"
        )
    if not known and canonical_name(folder.name) in _CLASSES and not has_splits(folder):
        raise DataError(
            f"{folder} is named as a class, and its folders {_some(inner)} are no emotions: give the folder above, or "
            "`layout=tree` to take them for classes"
        )
    return listing


def _some(names: Collection[str]) -> str:
    return ", ".join([*sorted(names)[:5], "…"][: max(len(names), 1)])


def name_numbers(listing: SampleList, layout: str, ids: Mapping[str, str]) -> SampleList:
    """Give class folders the names of a data set, in the order of its ``ids``; a folder may be an id or a name.

    Raises:
        DataError: A folder is neither, or two mean the same class.
    """
    known = dict(ids) | {canonical_name(name): name for name in ids.values()}
    named = {folder: known.get(canonical_name(folder)) for folder in listing.class_names}
    for folder, name in named.items():
        if name is None:
            classes = ", ".join(f"{number} {emotion}" for number, emotion in ids.items())
            raise DataError(f"{listing.root}: class folder {folder!r} is none of {layout}'s ({classes}): rename it")
        if len(twice := [other for other in named if named[other] == name]) > 1:
            raise DataError(f"{listing.root}: class folders {' and '.join(twice)} mean the same emotion: merge them")
    # a folder that only another split has is named too, or stays, for the check of classes to tell
    rows = [row._replace(emotion=known.get(canonical_name(row.emotion), row.emotion)) for row in listing.rows]
    order = tuple(name for name in ids.values() if name in named.values())
    return replace(listing, layout=layout, class_names=order, rows=rows)


def read_split_tree(root: Path, folder: Path) -> SampleList:
    """List ``folder/{train,val,test}/<class>/**``."""
    found: dict[Split, Path] = {}
    for child in visible_folders(folder):
        if (split := split_named(child.name)) is None:
            continue
        if split in found:
            raise DataError(f"{folder} has both {found[split].name!r} and {child.name!r}: merge them or rename one")
        found[split] = child
    learnt: tuple[str, ...] = ()
    rows: list[Sample] = []
    if "train" in found:
        learnt, rows = read_classes(root, found.pop("train"), "train", required=True)
    for split, child in found.items():
        rows += read_classes(root, child, split, required=False)[1]
    class_names = learnt or tuple({canonical_name(row.emotion): row.emotion for row in rows}.values())
    if "val" not in found and any(_is_public(row) for row in rows):
        rows = [row._replace(split="val") if _is_public(row) else row for row in rows]
        return SampleList(
            "FER2013 folders, test told apart by prefix", root, class_names, rows, file_source(root, rows)
        )
    return SampleList("folder tree with splits", root, class_names, rows, file_source(root, rows))


def _is_public(row: Sample) -> bool:
    """Say whether an image in ``test`` is of FER2013's validation set, which shared copies put there too."""
    return row.split == "test" and row.name.rpartition("/")[2].startswith("PublicTest_")


def read_classes(root: Path, folder: Path, split: Split | None, required: bool) -> tuple[tuple[str, ...], list[Sample]]:
    """List ``folder/<class>/**``; ``required``: no class folder may be without images."""
    classes = visible_folders(folder)
    names = unique_class_names((child.name for child in classes), folder)
    images = {child.name: images_below(child) for child in classes}
    if any(map(is_emotion, names)):  # a folder of something else, such as notebooks, is no class
        names = tuple(name for name in names if images[name] or is_emotion(name) or not os.listdir(folder / name))
    if not any(images.values()):
        raise DataError(
            f"{folder} has no images in class folders ({folder.name}/<class>/*): add some or remove it; "
            f"{what_is_in(folder)}"
        )
    empty = [name for name in names if not images[name]]
    if required and empty:
        raise DataError(
            f"class {empty[0]!r} has no images in {folder}: add some or remove the folder; "
            f"{what_is_in(folder / empty[0])}"
        )
    return names, [Sample(relative_path(path, root), name, split) for name in names for path in images[name]]
