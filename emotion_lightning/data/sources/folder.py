"""What lies below a folder, whatever its folders mean: images to predict, and files that are not read."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from emotion_lightning.data.images.decode import IMAGE_SUFFIXES, Files
from emotion_lightning.data.images.region import file_name
from emotion_lightning.data.sources.layouts.contents import count_kinds, dead_link, what_is_in
from emotion_lightning.data.sources.layouts.listing import relative_path
from emotion_lightning.data.sources.layouts.walk import files_below, images_below, is_image, is_within, real_paths
from emotion_lightning.errors import DataError

DESCRIPTIONS = frozenset({".json", ".jsonl", ".txt", ".npy", ".md", ".yaml", ".yml", ".xml", ".html"})
_TEXTS = frozenset({"readme", "license", "licence", "copying", "citation", "changelog"})


def find_images(root: Path) -> Files:
    """Return the image at ``root``, or all below it in the order of their paths.

    Raises:
        DataError: There is none.
    """
    if root.is_file():
        return Files([os.fspath(root)])
    if not root.is_dir():
        raise DataError(f"{root}: no such file or folder")
    if not (found := images_below(root)):
        raise DataError(f"{root} holds no images ({', '.join(sorted(IMAGE_SUFFIXES))}); {what_is_in(root)}")
    return Files(list(map(os.fspath, found)))


def real_files(images: Iterable[Path | str]) -> dict[str, str]:
    """Map the name of each image's file to the file that it is once links are followed."""
    names = dict.fromkeys(file_name(os.fspath(image)) for image in images)
    return dict(zip(names, real_paths(names), strict=True))


def unread_files(root: Path, read: Mapping[str, str]) -> tuple[str, ...]:
    """Return the files below ``root`` that are not among those ``read``, as :func:`real_files` has them.

    What describes data (JSON, text, numpy) and what tools leave is none of them, and of what runs and audits wrote only
    the images are, lest a folder of the data be taken for it in silence. A file that is read by another name,
    of a link, is read. A link that leads nowhere is among them, with what it leads to.
    """
    if not root.is_dir():
        return ()
    files = set(read.values())
    folders = {name[: name.rfind(os.sep)] for name in read}
    found = []
    for path, real, dead, output in files_below(root, outputs=True):
        if path in read or (output and not is_image(os.path.basename(path))):
            continue
        if not dead and real not in files and not _describes(path):
            found.append(relative_path(path, root))
        elif dead and not any(is_within(folder, path) for folder in folders):
            found.append(dead_link(relative_path(path, root), real))
    return tuple(sorted(found))


def linked_message(root: Path, read: Mapping[str, str]) -> str:
    """Say how many files named below ``root`` lie elsewhere, by links, and where; nothing where there is none."""
    base = os.path.abspath(root if root.is_dir() else root.parent)
    home = os.path.realpath(base)
    away = ((name, real) for name, real in read.items() if not is_within(real, home))
    outside = [real for name, real in away if is_within(os.path.abspath(name), base) and os.path.exists(real)]
    files = "file is" if len(outside) == 1 else "files are"
    return f"{len(outside):,} {files} reached by links, in {_where(outside)}" if outside else ""


def unread_message(names: Sequence[str]) -> str:
    """Say how many files of which kind are not read; nothing where there is none."""
    return f"not read: {count_kinds(names)}" if names else ""


def _where(paths: Sequence[str]) -> str:
    """Name the folder that all files lie in or, where these have nothing in common, some of their folders."""
    folders = sorted({os.path.dirname(path) for path in paths})
    try:
        common = os.path.commonpath(folders)
    except ValueError:  # several drives
        common = ""
    if os.path.dirname(common) != common:
        return common
    return ", ".join([*folders[:3], "…"][: len(folders)])


def _describes(path: str) -> bool:
    stem, suffix = os.path.splitext(os.path.basename(path))
    return suffix.lower() in DESCRIPTIONS or (not suffix and stem.casefold() in _TEXTS)
