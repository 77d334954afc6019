"""What lies in a folder, in words, and what to do about files that are not read."""

import os
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from emotion_lightning.data.images.decode import IMAGE_SUFFIXES
from emotion_lightning.data.sources.layouts.listing import relative_path
from emotion_lightning.data.sources.layouts.walk import files_below

TABLES = frozenset({".csv", ".tsv", ".lst"})
_LEADS_TO = " -> "

_PICTURES = frozenset(
    {
        *(".heic", ".heif", ".avif", ".gif", ".jp2", ".j2k", ".jxl", ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".ico"),
        *(".psd", ".svg", ".eps", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raw", ".orf", ".rw2", ".exr"),
    }
)
_VIDEOS = frozenset(
    {".mp4", ".avi", ".mov", ".mkv", ".webm", ".mpg", ".mpeg", ".m4v", ".wmv", ".flv", ".3gp", ".mts", ".ts", ".ogv"}
)
_ARCHIVES = frozenset({".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".zst", ".lzma", ".tbz2", ".txz"})
_PIECE = re.compile(r"\.(?:\d{3}|z\d\d|r\d\d|part\d*)")
_PACKED = frozenset(
    {
        *(".parquet", ".arrow", ".feather", ".tfrecord", ".tfrecords", ".record", ".h5", ".hdf5", ".mat", ".npy"),
        *(".npz", ".pkl", ".pickle", ".pt", ".pth", ".bin", ".lmdb", ".mdb", ".db", ".sqlite", ".rec", ".idx"),
    }
)
_ADVICE = {
    "image": "put the images of each class into a folder of its own (<class>/*.jpg), or name them in a train.csv with "
    "the columns filepath,label; if they are those of one class of several, give the folder above",
    "picture": "save them as JPEG or PNG",
    "video": "save frames of them as JPEG or PNG, and keep those of one video together by `group_regex`",
    "archive": "unpack them, and give the folder that comes out",
    "link that leads nowhere new": "copy what they shall lead to, or let them lead to it",
    "file without a suffix": "if they are images, add a suffix to their names, such as .jpg",
    "table": "a table that names images and their classes is read as train.csv, with the columns filepath,label, in "
    "the folder that its paths start from",
    "packed": "save their images as files in folders of their classes (<class>/*.png)",
}
"""What to do about files of a kind where no image can be read."""


def what_is_in(folder: Path) -> str:
    """Say which files are below a folder, and what to do: "it holds 60 HEIC images (happy/0.heic, …): save them …"."""
    found = ((relative_path(Path(file.path), folder), file) for file in files_below(folder, outputs=True))
    names = [dead_link(name, file.real) if file.dead else name for name, file in found]
    if not names:
        return "it holds no files"
    kinds = sorted(_by_kind(names), key=lambda found: -len(found[1]))
    pieces = dict.fromkeys(advice(found[0]) for _, found in kinds)
    return ": ".join(filter(None, (f"it holds {count_kinds(names)}", "; ".join(filter(None, pieces)))))


def dead_link(name: str, target: str) -> str:
    """Name a link that leads nowhere new, and what it leads to."""
    return f"{name}{_LEADS_TO}{target}"


def count_kinds(names: Sequence[str]) -> str:
    """Say how many files there are of each kind, with the first: "2 HEIC images (x.heic, …), 1 table (y.csv)"."""
    return ", ".join(
        f"{len(found):,} {noun if len(found) == 1 else _plural(noun)} ({_text(found[0])}{', …' * (len(found) > 1)})"
        for noun, found in _by_kind(names)
    )


def advice(name: str) -> str:
    """Say what to do about a file whose kind is not read; nothing where no way is known."""
    return _ADVICE.get(_kind(name), "")


def is_archive(name: str) -> bool:
    """Say whether a file is an archive, or a piece of one, by its suffix."""
    return _kind(name) == "archive"


def is_table(name: str) -> bool:
    """Say whether a file is a table by its suffix."""
    return os.path.splitext(name)[1].lower() in TABLES


def _by_kind(names: Sequence[str]) -> list[tuple[str, list[str]]]:
    kinds = defaultdict[str, list[str]](list)
    for name in sorted(names):
        kinds[_noun(name)].append(name)
    return list(kinds.items())


def _kind(name: str) -> str:
    suffix = os.path.splitext(name)[1].lower()
    if _LEADS_TO in name:
        return "link that leads nowhere new"
    if not suffix:
        return "file without a suffix"
    if suffix == ".lst":
        return "list"
    kinds = {"image": IMAGE_SUFFIXES, "picture": _PICTURES, "video": _VIDEOS, "archive": _ARCHIVES, "table": TABLES}
    found = next((kind for kind, suffixes in (kinds | {"packed": _PACKED}).items() if suffix in suffixes), "other")
    return "archive" if found == "other" and _PIECE.fullmatch(suffix) else found


def _noun(name: str) -> str:
    kind, suffix = _kind(name), os.path.splitext(name)[1].lower()
    if kind == "picture":
        return f"{suffix[1:].upper()} image"
    return f"{suffix} file" if kind in ("packed", "other") else kind


def _plural(noun: str) -> str:
    if noun.startswith("link that leads"):
        return noun.replace("link that leads", "links that lead", 1)
    return noun.replace("file", "files", 1) if "file" in noun else f"{noun}s"


def _text(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode()
