"""What lies below a folder, whatever its folders mean: images to predict, and files that are no images."""

import os
from pathlib import Path

from emotion_lightning.data.images.decode import IMAGE_SUFFIXES, Files
from emotion_lightning.data.sources.layouts.listing import is_hidden
from emotion_lightning.errors import DataError

DESCRIPTIONS = frozenset({".csv", ".json", ".txt", ".npy", ".md"})


def find_images(root: Path) -> Files:
    """Return the image at ``root``, or all below it in the order of their paths.

    Raises:
        DataError: There is none.
    """
    if root.is_file():
        return Files((root,))
    if not root.is_dir():
        raise DataError(f"{root}: no such file or folder")
    paths = sorted(path for path in root.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
    visible = tuple(path for path in paths if not any(map(is_hidden, path.relative_to(root).parts)))
    if not visible:
        raise DataError(f"{root} holds no images ({', '.join(sorted(IMAGE_SUFFIXES))})")
    return Files(visible)


def other_files(root: Path) -> tuple[str, ...]:
    """Return the visible files below ``root`` that are not read, by their suffix, as paths below it.

    Files that describe a data set (CSV, JSON, text, numpy) are none of them.
    """
    if not root.is_dir():
        return ()
    known = IMAGE_SUFFIXES | DESCRIPTIONS
    found = []
    for parent, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not is_hidden(name)]
        others = [name for name in files if os.path.splitext(name)[1].lower() not in known and not is_hidden(name)]
        found += [Path(parent, name).relative_to(root).as_posix() for name in others]
    return tuple(sorted(found))
