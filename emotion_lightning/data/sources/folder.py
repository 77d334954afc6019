"""What lies below a folder, whatever its folders mean: images to predict, and files that are not read."""

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from emotion_lightning.data.images.decode import IMAGE_SUFFIXES, Files
from emotion_lightning.data.sources.layouts.listing import files_below, images_below, relative_path
from emotion_lightning.errors import DataError

TABLES = frozenset({".csv", ".tsv", ".lst"})
DESCRIPTIONS = frozenset({".json", ".jsonl", ".txt", ".npy", ".md", ".yaml", ".yml", ".xml", ".html"})
_TEXTS = frozenset({"readme", "license", "licence", "copying", "citation", "changelog"})


def find_images(root: Path) -> Files:
    """Return the image at ``root``, or all below it in the order of their paths.

    Raises:
        DataError: There is none.
    """
    if root.is_file():
        return Files((root,))
    if not root.is_dir():
        raise DataError(f"{root}: no such file or folder")
    if not (found := images_below(root)):
        raise DataError(f"{root} holds no images ({', '.join(sorted(IMAGE_SUFFIXES))}); {what_is_in(root)}")
    return Files(tuple(found))


def unread_files(root: Path, read: Iterable[Path]) -> tuple[str, ...]:
    """Return the files below ``root`` that are not among those ``read``, as paths below it.

    What describes data (JSON, text, numpy) and what tools leave is none of them.
    """
    if not root.is_dir():
        return ()
    known = {os.fspath(path) for path in read}
    found = (path for path in files_below(root) if path not in known and not _describes(path))
    return tuple(sorted(relative_path(Path(path), root) for path in found))


def what_is_in(root: Path) -> str:
    """Say in words which files are below a folder: "it holds 60 .heic files (happy/0.heic, …)"."""
    return f"it holds {_by_kind(unread_files(root, ())) or 'no files'}"


def unread_message(names: Sequence[str]) -> str:
    """Say how many files of which kind are not read; nothing where there is none."""
    return f"not read: {_by_kind(names)}" if names else ""


def _by_kind(names: Sequence[str]) -> str:
    kinds = defaultdict[str, list[str]](list)
    for name in names:
        kinds[_kind(name)].append(name.encode("utf-8", "backslashreplace").decode())
    return ", ".join(
        f"{len(found):,} {kind if len(found) > 1 else kind.replace('files', 'file').removesuffix('s')} "
        f"({found[0]}{', …' * (len(found) > 1)})"
        for kind, found in kinds.items()
    )


def _kind(name: str) -> str:
    suffix = os.path.splitext(name)[1].lower()
    if suffix in IMAGE_SUFFIXES:
        return "images"
    if suffix in TABLES:
        return "tables"
    return f"{suffix} files" if suffix else "files without a suffix"


def _describes(path: str) -> bool:
    stem, suffix = os.path.splitext(os.path.basename(path))
    return suffix.lower() in DESCRIPTIONS or (not suffix and stem.casefold() in _TEXTS)
