"""Readers of the ways in which people keep facial-emotion data, each found by looking at the folder."""

from pathlib import Path

from emotion_lightning.data.images import PixelRows
from emotion_lightning.data.labels import FER2013_CLASSES
from emotion_lightning.data.layouts.fer2013 import PIXEL_CSVS, pixel_csv, read_pixels
from emotion_lightning.data.layouts.listing import (
    SPLIT_FOLDERS,
    Listing,
    files_of,
    images_below,
    is_image,
    spelled_once,
    visible_folders,
)
from emotion_lightning.data.layouts.tables import label_map, read_csvs, read_rows
from emotion_lightning.data.layouts.trees import read_classes, read_split_tree
from emotion_lightning.errors import DataError

__all__ = ["Listing", "read_layout", "read_splits_file"]

LAYOUTS = (
    "ROOT/{train,val,test}/<class>/*.jpg; ROOT/<class>/*.jpg; ROOT/train.csv with the columns filepath,label; "
    "ROOT/fer2013.csv or ROOT/icml_face_data.csv"
)


def read_layout(root: Path) -> Listing:
    """Find out how the data under ``root`` is kept and list it.

    Raises:
        DataError: There is no such path, no layout is recognised, or the data breaks a rule of its layout.
    """
    folder = _unwrap(root)
    if pixels := pixel_csv(folder):
        return read_pixels(pixels)
    if (folder / "train.csv").is_file():
        return read_csvs(root, folder)
    folders = visible_folders(folder)
    if any(child.name.casefold() in SPLIT_FOLDERS for child in folders):
        return read_split_tree(root, folder)
    if not any(images_below(child, root) for child in folders):
        raise DataError(f"{root} holds no images in a layout that is understood. Understood are: {LAYOUTS}")
    names, rows = read_classes(root, folder, None, required=True)
    return Listing("folder tree without splits", root, names, rows, files_of(root, rows))


def read_splits_file(root: Path, file: Path) -> Listing:
    """List exactly the images that a CSV with the columns filepath,label,split names, with ``root`` as their base.

    Raises:
        DataError: The file is malformed, or names an image that is not there.
    """
    folder = _unwrap(root)
    if pixels := pixel_csv(folder):
        whole = read_pixels(pixels)
        place = {row.name: position for position, row in enumerate(whole.rows)}
        rows = read_rows(file, place.__contains__, FER2013_CLASSES)
        assert isinstance(whole.source, PixelRows)
        source = PixelRows(whole.source.pixels[[place[row.name] for row in rows]])
        return Listing("splits file", whole.root, FER2013_CLASSES, rows, source)
    order = label_map(folder) if (folder / "train.csv").is_file() else None
    rows = read_rows(file, lambda name: (root / name).is_file(), order)
    names = order or spelled_once((row.emotion for row in rows if row.split == "train"), file)
    return Listing("splits file", root, names, rows, files_of(root, rows))


def _unwrap(root: Path) -> Path:
    """Look through the single folder that unpacking an archive may have put around the data."""
    if root.is_file() and root.suffix.lower() != ".csv":
        raise DataError(f"{root} is neither a folder nor a CSV file: give the folder with the data, archives unpacked")
    if root.is_file():
        return root
    if not root.is_dir():
        raise DataError(f"{root} does not exist: give the folder that holds the data")
    folders = visible_folders(root)
    if len(folders) != 1 or folders[0].name.casefold() in SPLIT_FOLDERS or _has_csv(root):
        return root
    holds_images = any(is_image(entry.name) for entry in folders[0].iterdir())
    return root if holds_images and not _has_csv(folders[0]) else folders[0]


def _has_csv(folder: Path) -> bool:
    return any((folder / name).is_file() for name in (*PIXEL_CSVS, "train.csv"))
