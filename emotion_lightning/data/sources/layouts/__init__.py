"""Readers of the ways in which people keep facial-emotion data, each found by looking at the folder."""

import os
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from emotion_lightning.data.sources.labels import FER2013_CLASSES, canonical_name, is_emotion
from emotion_lightning.data.sources.layouts import affectnet, ferplus, rafdb
from emotion_lightning.data.sources.layouts.ckplus import is_ckplus, read_ckplus
from emotion_lightning.data.sources.layouts.contents import advice, is_archive, is_table, what_is_in
from emotion_lightning.data.sources.layouts.emoset import is_emoset, read_emoset
from emotion_lightning.data.sources.layouts.expw import is_expw, read_expw
from emotion_lightning.data.sources.layouts.fer2013 import pixel_csv, read_fer2013, read_pixels
from emotion_lightning.data.sources.layouts.listing import SampleList, file_source, unique_class_names
from emotion_lightning.data.sources.layouts.named import JAFFE, KDEF, is_named, read_named
from emotion_lightning.data.sources.layouts.tables import (
    has_class_folders,
    header_of,
    is_csvs,
    is_image_file,
    label_map,
    names_images,
    names_splits,
    read_csvs,
    read_rows,
    split_tables,
)
from emotion_lightning.data.sources.layouts.trees import (
    has_emotions,
    has_splits,
    read_tree,
    refuse_levels,
    refuse_numbers,
)
from emotion_lightning.data.sources.layouts.walk import (
    files_below,
    holds_images,
    is_image,
    snapshot_of,
    visible_folders,
)
from emotion_lightning.data.sources.layouts.yolo import is_yolo, read_yolo
from emotion_lightning.errors import DataError

__all__ = ["FORMATS", "Format", "SampleList", "read_layout", "read_splits_file"]

Format = Literal[
    "auto",
    "tree",
    "csv",
    "fer2013",
    "ferplus",
    "rafdb",
    "affectnet",
    "ckplus",
    "emoset",
    "expw",
    "kdef",
    "jaffe",
    "yolo",
]
"""How data is kept, or auto to find it by looking."""

FORMATS: tuple[Format, ...] = get_args(Format)

LAYOUTS = (
    "ROOT/{train,val,test}/<class>/*.jpg; ROOT/<class>/*.jpg; ROOT/train.csv with the columns filepath,label; "
    "ROOT/fer2013.csv or ROOT/icml_face_data.csv, alone or beside FER+'s fer2013new.csv; images with labels as YOLO "
    "keeps them; RAF-DB, AffectNet, CK+48, EmoSet, ExpW, KDEF and JAFFE as they are unpacked"
)


class Reader(NamedTuple):
    """How a format is known by what is in a folder, and listed from ``(root, folder)``."""

    fits: Callable[[Path], bool]
    read: Callable[[Path, Path], SampleList]


# In the order of the questions. Files that only one data set has come first, then the user's own train.csv, then what
# less particular names tell. Whatever fits none of them is a tree, so class folders of any names stay what they are.
READERS: Mapping[Format, Reader] = {
    "ferplus": Reader(ferplus.is_ferplus, ferplus.read_ferplus),
    "fer2013": Reader(lambda folder: pixel_csv(folder) is not None, read_fer2013),
    "rafdb": Reader(rafdb.is_rafdb, rafdb.read_rafdb),
    "emoset": Reader(is_emoset, read_emoset),
    "expw": Reader(is_expw, read_expw),
    "csv": Reader(is_csvs, read_csvs),
    "affectnet": Reader(affectnet.is_affectnet, affectnet.read_affectnet),
    "yolo": Reader(is_yolo, read_yolo),
    "ckplus": Reader(is_ckplus, read_ckplus),
    "kdef": Reader(partial(is_named, naming=KDEF), partial(read_named, naming=KDEF)),
    "jaffe": Reader(partial(is_named, naming=JAFFE), partial(read_named, naming=JAFFE)),
}


def read_layout(root: Path, format: Format = "auto") -> SampleList:
    """Find out how the data under ``root`` is kept, unless ``format`` says so, and list it.

    Raises:
        DataError: There is no such path, no layout is recognized, or the data breaks a rule of its layout.
    """
    folder = _unwrap(root, format)
    if root.is_file() and format not in ("auto", "fer2013", "ferplus"):
        raise DataError(f"{root} is a file, and `layout={format}` is kept in a folder: give the folder")
    layout = _recognize(folder) if format == "auto" else format
    if layout == "csv" and format == "auto" and _may_be_tree(folder):
        try:
            return read_csvs(root, folder)
        except DataError as error:
            raise DataError(f"{error}; or give `layout=tree` to go by the folders") from error
    if layout in READERS:
        return READERS[layout].read(root, folder)
    if format == "auto":
        affectnet.refuse_unclear(folder)
    if format == "auto" and (tables := split_tables(folder)) and "train" not in tables:
        lone = min(tables.values()).name
        raise DataError(f"{root} has {lone} but no train.csv: add one, or give `layout=tree` to go by the folders")
    if not has_splits(folder) and not any(map(holds_images, visible_folders(folder))):
        what = f"{root} holds no images in a layout that is understood: {what_is_in(folder)}"
        raise DataError(f"{what}. Understood are: {LAYOUTS}")
    if format == "auto" and not has_class_folders(folder):
        _refuse_tables(root, folder)
    listing = read_tree(root, folder)
    return listing if format == "tree" else refuse_levels(refuse_numbers(listing), folder)


def _may_be_tree(folder: Path) -> bool:
    """Say whether there are folders to go by, as classes."""
    several = not has_splits(folder) and sum(map(holds_images, visible_folders(folder))) > 1
    return has_emotions(folder) or several


def _refuse_tables(root: Path, folder: Path) -> None:
    """Refuse folders that are no emotions beside a table that names images and their classes."""
    tables = (Path(path) for path, *_ in files_below(folder) if is_table(path))
    if table := next((path for path in tables if names_images(header_of(path))), None):
        as_splits = "give it as `splits_file` and the folder that its paths start from as `root`"
        as_train = "call it train.csv and put it into the folder that its paths start from"
        raise DataError(
            f"{root}: no folder is named as an emotion, and {table} names images and their classes: to go by it, "
            + (as_splits if names_splits(table) else as_train)
            + "; to go by the folders, give `layout=tree`" * _may_be_tree(folder)
        )


def read_splits_file(root: Path, file: Path, format: Format = "auto", merged: Iterable[str] = ()) -> SampleList:
    """List exactly the images that a CSV with the columns filepath,label,split names, with ``root`` as their base.

    Args:
        root: Folder or file with the data.
        file: The CSV file.
        format: How the data is kept, or auto; the order of its classes holds.
        merged: Names of classes that the file may have besides those of the data.

    Raises:
        DataError: The file is malformed, or names an image that is not there.
    """
    folder = _unwrap(root, format)
    layout = _recognize(folder) if format == "auto" else format
    order = _order(layout, folder)
    known = {canonical_name(name): name for name in (*merged, *order)}  # the data's spelling wins
    allowed = (*order, *(name for name in known.values() if name not in order)) if order else None
    if layout in ("fer2013", "ferplus") and (pixels := pixel_csv(folder)):
        whole = read_pixels(pixels) if layout == "fer2013" else ferplus.read_ferplus(root, folder)
        place = {row.name: position for position, row in enumerate(whole.rows)}
        rows = read_rows(file, place.__contains__, allowed)
        chosen = whole.keep([place[row.name] for row in rows])
        rows = [row._replace(votes=known.votes) for row, known in zip(rows, chosen.rows, strict=True)]
        return SampleList("splits file", whole.root, allowed or (), rows, chosen.source)
    rows = read_rows(file, partial(is_image_file, root), allowed)
    if layout == "ferplus":
        votes = {row.name: row.votes for row in ferplus.read_ferplus(root, folder).rows}
        rows = [row._replace(votes=votes.get(row.name)) for row in rows]
    names = allowed or unique_class_names((row.emotion for row in rows if row.split == "train"), file)
    return SampleList("splits file", root, names, rows, file_source(root, rows))


def _recognize(folder: Path) -> Format:
    return next((name for name, reader in READERS.items() if reader.fits(folder)), "tree")


def _order(layout: Format, folder: Path) -> tuple[str, ...]:
    """Return the classes in the order of a format's ids, whether the data has them or not; nothing without ids."""
    official: dict[Format, Iterable[str]] = {
        "fer2013": FER2013_CLASSES if pixel_csv(folder) else (),
        "ferplus": ferplus.CLASSES,
        "rafdb": rafdb.CLASSES.values(),
        "affectnet": affectnet.CLASSES.values(),
        "csv": label_map(folder) or () if layout == "csv" else (),
    }
    return tuple(official.get(layout, ()))


def _unwrap(root: Path, format: Format) -> Path:
    """Look through the single folders that unpacking an archive may have put around the data."""
    if root.is_file():
        _refuse_file(root)
        return root
    if not root.is_dir():
        leads = f", for it is a link to {os.readlink(root)}" if root.is_symlink() else ""
        raise DataError(f"{root} does not exist{leads}: give the folder that holds the data")
    root = snapshot_of(root)
    while not has_splits(root) and not _fits(root, format) and (inner := _wrapped(root)):
        if any(is_image(entry.name) for entry in inner.iterdir()) and not _fits(inner, format):
            break
        root = inner
    return root


def _refuse_file(root: Path) -> None:
    """Refuse a root that is a file, unless it is a CSV file that does not name other files."""
    if root.suffix.lower() != ".csv":
        what = f"{root} is neither a folder nor a CSV file: give the folder with the data, archives unpacked"
        raise DataError(what if is_archive(root.name) else "; ".join(filter(None, (what, advice(root.name)))))
    header = header_of(root)
    if names_images(header) and "pixels" not in header:
        named = "" if root.name == "train.csv" else "call it train.csv and "
        what = "give it as `splits_file` and" if names_splits(root) else f"{named}give"
        raise DataError(f"{root} names images in other files: {what} its folder, {root.parent}")


def _wrapped(folder: Path) -> Path | None:
    """Return the only folder in ``folder`` or, of several, the only one with images, unless it seems to be a class."""
    folders = visible_folders(folder) or visible_folders(folder, outputs=True)  # a report may lie in a wrapper, too
    if len(folders) > 1:
        if any(is_emotion(child.name) for child in folders):
            return None
        folders = [child for child in folders if holds_images(child)]
    if len(folders) != 1 or (is_emotion(folders[0].name) and not has_class_folders(folders[0])):
        return None
    return folders[0]


def _fits(folder: Path, format: Format) -> bool:
    if format == "auto":
        return _recognize(folder) != "tree"
    return format in READERS and READERS[format].fits(folder)
