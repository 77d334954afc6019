"""Looks at folders: what lies in them and below them, links followed, without what is none of the data."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from emotion_lightning.data.images.decode import IMAGE_SUFFIXES
from emotion_lightning.data.sources.layouts.names import is_foreign, is_hidden, is_output
from emotion_lightning.errors import DataError


class Found(NamedTuple):
    """A file below a folder, the file that it is once links are followed, and whether it is a link that leads nowhere.

    A link that leads nowhere names a file that is not there, or a folder that the walk has been in already.
    ``output`` says whether the file lies in a folder that a run or an audit wrote.
    """

    path: str
    real: str
    dead: bool = False
    output: bool = False


def visible_folders(folder: Path, outputs: bool = False) -> list[Path]:
    """Return the folders in ``folder`` by name, without those that are none of the data; ``outputs``: with a run's."""
    folders = [path for path in folder.iterdir() if path.is_dir() and not is_foreign(path.name)]
    folders = [path for path in folders if outputs or not is_output(os.fspath(path))]
    folders = [path for path in folders if not (path.is_symlink() and _leads_back(path))]
    return sorted(folders, key=lambda path: (path.name.casefold(), path.name))


def is_image(name: str) -> bool:
    """Say whether a file is an image by its suffix."""
    return not is_hidden(name) and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def images_below(folder: Path) -> list[Path]:
    """Return every image below ``folder``, however deep, in the order of their paths.

    Raises:
        DataError: A folder cannot be listed.
    """
    found = [path for path, *_ in files_below(folder) if is_image(os.path.basename(path))]
    return [Path(path) for path in sorted(found, key=lambda path: path.split(os.sep))]


def holds_images(folder: Path) -> bool:
    """Say whether there is an image below ``folder``."""
    return any(is_image(os.path.basename(path)) for path, *_ in files_below(folder))


def files_below(folder: Path, outputs: bool = False) -> Iterator[Found]:
    """Yield every file below ``folder``, however deep, links followed, without what is none of the data.

    Linked folders come last and each folder is entered once, so that links which lead round in circles come to an end.

    Args:
        folder: Where to begin.
        outputs: Enter folders that runs and audits wrote, too.

    Raises:
        DataError: A folder cannot be listed.
    """
    home = os.path.realpath(folder)
    waiting, linked, entered = [(os.fspath(folder), home, False)], list[tuple[str, str, bool]](), set[str]()
    while waiting or linked:
        path, real, output = waiting.pop() if waiting else linked.pop(0)
        if real in entered or (entered and is_within(home, real)):
            yield Found(path, real, dead=True)
            continue
        entered.add(real)
        base = os.path.join(real, "")
        for entry in _entries(path):
            link = entry.is_symlink()
            target = os.path.realpath(entry.path) if link else base + entry.name
            if not _is(entry.is_dir):
                if not is_hidden(entry.name):
                    yield Found(entry.path, target, link and not os.path.exists(entry.path), output)
            elif not is_foreign(entry.name):
                inside = output or is_output(entry.path)
                if outputs or not inside:
                    (linked if link else waiting).append((entry.path, target, inside))


def snapshot_of(folder: Path) -> Path:
    """Return the version that a hub's cache of a repository keeps below ``folder``, or ``folder`` if it is none.

    Such a cache has the files in ``blobs`` and, for each version, links to them in ``snapshots/<hash>``.

    Raises:
        DataError: It keeps several versions, and none that it calls main.
    """
    if not ((folder / "blobs").is_dir() and (folder / "snapshots").is_dir()):
        return folder
    versions, main = visible_folders(folder / "snapshots"), folder / "refs" / "main"
    named = main.read_text(encoding="utf-8", errors="replace").strip() if main.is_file() else ""
    chosen = [version for version in versions if len(versions) == 1 or version.name == named]
    if not versions:
        return folder
    if not chosen:
        names = ", ".join(version.name for version in versions)
        raise DataError(f"{folder / 'snapshots'} holds several versions ({names}): give the folder of one of them")
    return chosen[0]


def real_paths(paths: Iterable[Path | str]) -> list[str]:
    """Return the file that each path is once links are followed; fast for many files of few folders.

    A path that leads through no link is returned as it is, the same object.
    """
    folders: dict[str, tuple[str, bool]] = {}
    found = []
    for given in paths:
        path = os.fspath(given)
        start = path.rfind(os.sep) + 1
        parent = path[:start]
        if parent not in folders:
            folders[parent] = os.path.join(os.path.realpath(parent), ""), _may_hold_links(parent)
        real, links = folders[parent]
        if links and os.path.islink(path):
            found.append(os.path.realpath(path))
        else:
            found.append(path if real == parent else real + path[start:])
    return found


def _may_hold_links(folder: str) -> bool:
    """Say whether a link is in ``folder``, by one look at it in place of one at each of its files."""
    try:
        with os.scandir(folder or ".") as entries:
            return any(entry.is_symlink() for entry in entries)
    except OSError:  # it is not there, or may be entered and not listed
        return True


def is_within(path: str, folder: str) -> bool:
    """Say whether a path is ``folder`` or lies below it, by their texts."""
    return path == folder or path.startswith(folder if folder.endswith(os.sep) else folder + os.sep)


def _leads_back(link: Path) -> bool:
    return is_within(os.path.realpath(link.parent), os.path.realpath(link))


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"{error.filename} cannot be listed: {error.strerror}") from error


def _is(question: object) -> bool:
    try:
        return bool(question())  # type: ignore[operator]
    except OSError:  # links that lead round in a circle
        return False
