"""Folder trees: a folder for each class, within a folder for each split or without."""

from pathlib import Path

from emotion_lightning.data.layouts.listing import (
    SPLIT_FOLDERS,
    Listing,
    Row,
    files_of,
    images_below,
    name_below,
    spelled_once,
    visible_folders,
)
from emotion_lightning.data.splits import Split
from emotion_lightning.errors import DataError


def read_split_tree(root: Path, folder: Path) -> Listing:
    """List ``folder/{train,val,test}/<class>/**``."""
    found: dict[Split, Path] = {}
    for child in visible_folders(folder):
        if (split := SPLIT_FOLDERS.get(child.name.casefold())) is None:
            continue
        if split in found:
            raise DataError(f"{folder} has both {found[split].name!r} and {child.name!r}: merge them or rename one")
        found[split] = child
    if "train" not in found:
        raise DataError(f"{folder} has {', '.join(p.name for p in found.values())} but no folder 'train': add one")
    class_names, rows = read_classes(root, found.pop("train"), "train", required=True)
    for split, child in found.items():
        rows += read_classes(root, child, split, required=False)[1]
    if "val" not in found and any(_is_public(row) for row in rows):
        rows = [row._replace(split="val") if _is_public(row) else row for row in rows]
        return Listing("FER2013 folders, test told apart by prefix", root, class_names, rows, files_of(root, rows))
    return Listing("folder tree with splits", root, class_names, rows, files_of(root, rows))


def _is_public(row: Row) -> bool:
    """Say whether an image in ``test`` is of FER2013's validation set, which shared copies put there too."""
    return row.split == "test" and row.name.rpartition("/")[2].startswith("PublicTest_")


def read_classes(root: Path, folder: Path, split: Split | None, required: bool) -> tuple[tuple[str, ...], list[Row]]:
    """List ``folder/<class>/**``; ``required``: no class folder may be without images."""
    classes = visible_folders(folder)
    names = spelled_once((child.name for child in classes), folder)
    images = {child.name: images_below(child, root) for child in classes}
    if not any(images.values()):
        raise DataError(f"{folder} has no images in class folders ({folder.name}/<class>/*): add some or remove it")
    empty = [name for name in names if not images[name]]
    if required and empty:
        raise DataError(f"class {empty[0]!r} has no images in {folder}: add some or remove the folder")
    return names, [Row(name_below(path, root), name, split) for name in names for path in images[name]]
