"""The cache of decoded images: each is decoded once in its life, whichever command comes first."""

import io
import logging
import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from emotion_lightning.data.images.cache_file import (
    EMPTY,
    RECORD,
    SMALL,
    Contents,
    Records,
    Results,
    kept_bytes,
    pixel_shapes,
    read,
    tail_bytes,
    write,
)
from emotion_lightning.data.images.cache_folder import FOLDER_VARIABLE, cache_folder, cache_name, make_room
from emotion_lightning.data.images.cached import Cached
from emotion_lightning.errors import DataError, UsageError
from emotion_lightning.runs.files import atomic_write, ensure_writable

logger = logging.getLogger(__name__)


class Cache:
    """Decoded pixels and records of a data set's images, in one file that audit, training and evaluation share.

    An image is kept as it is if it has at most ``limit`` x ``limit`` pixels, else resized to that square as
    ``images.to_tensor`` does. So what is read and resized to ``limit`` is, to the bit, what decoding the file for that
    side gives (``images.open_image``); at another size it need not be.

    A file of the same path, size and time of its last change is taken to be unchanged. While the cache is written, its
    last version stands beside it.

    Args:
        root: Folder that names the data set.
        limits: Side in pixels of the square that each image will be used at; one for all, or an array with one for
            each image of the source, shape ``(N,)``.
        gigabytes: Most that the caches of all data sets may take on disk; 0 keeps a small data set in memory alone.
        folder: Where the files are; by default ``cache_folder()``.
        second: Side of another square to keep of images that are resized, for who does not know yet which of both
            limits will hold; pixels that are kept for any limit will do then. 0 for none.

    Raises:
        UsageError: ``gigabytes`` is negative or not finite.
    """

    def __init__(
        self,
        root: Path,
        limits: int | npt.NDArray[np.int32],
        gigabytes: float = 10.0,
        folder: Path | None = None,
        second: int = 0,
    ) -> None:
        if not 0 <= gigabytes < math.inf:
            raise UsageError(f"`cache_gb` {gigabytes:g} is no size: give a number from 0, which is none on disk")
        self.limits, self.room, self.second = limits, int(gigabytes * 1e9), second
        self.file = (folder or cache_folder()) / cache_name(root)
        self._memory: Contents | None = None  # in place of the file, where that cannot be

    def fill(
        self,
        names: Sequence[str],
        limits: npt.NDArray[np.int32],
        records: Records,
        examine: Callable[[Sequence[int]], Results],
    ) -> None:
        """Fill in the ``records`` of images, from the cache where they are known, and keep what is new.

        Args:
            names: Absolute path of each image, each once.
            limits: Limit of each, shape ``(N,)``.
            records: Record of each, from :func:`new_records`.
            examine: Decodes the images at some positions in order, fills in their records, width 0 where an image is
                unreadable, and yields the positions with the pixels to keep, None where unreadable.
        """
        old = self._contents()
        known = _recall(old, names, None if self.second else limits, records)
        results = examine(self._lacking(names, limits, records, known))
        first = next((result for result in results if result[1] is not None), None)
        if first is not None:
            self._store(old, names, records, chain([first], results))
        elif self._too_large():
            self._store(old, names, records, iter(()))
        if self._memory is None and self.room:
            with suppress(OSError):  # somebody else's file, or none
                os.utime(self.file)  # the time of its last use
            make_room(self.file, self.room)

    def reader(self, paths: Sequence[Path]) -> Cached:
        """Return what reads the images at ``paths``, for each of which ``limits`` has a value, from the cache."""
        contents = self._contents()
        names, records = new_records(paths)
        limits = np.broadcast_to(np.asarray(self.limits, np.int32), len(names))
        _recall(contents, names, limits, records)
        file = self.file if self._memory is None else None
        return Cached(tuple(paths), limits, records["offset"].copy(), pixel_shapes(records), contents, file)

    def _contents(self) -> Contents:
        if self._memory is not None or not self.room:
            return self._memory or EMPTY
        try:
            with self.file.open("rb") as stream:
                return read(stream)
        except (FileNotFoundError, NotADirectoryError):
            return EMPTY
        except (OSError, ValueError) as error:
            logger.warning("Cache: %s is not used, and made anew: %s", self.file, error)
            return EMPTY

    def _lacking(
        self, names: Sequence[str], limits: npt.NDArray[np.int32], records: Records, known: npt.NDArray[np.bool_]
    ) -> list[int]:
        """Positions of the images to decode: unknown, or known without pixels that there is room for."""
        own = records["width"].astype(np.int64) * records["height"]
        sizes = np.minimum(own, limits.astype(np.int64) ** 2) * records["channels"]
        kept = records["offset"] >= 0
        room = self._pixel_room(names) - int(kept_bytes(records[kept]).sum())
        lacking = np.flatnonzero(~known).tolist()
        for position in np.flatnonzero(known & ~kept).tolist():
            if sizes[position] <= room:
                room -= int(sizes[position])
                lacking.append(position)
        return sorted(lacking)

    def _pixel_room(self, names: Sequence[str]) -> int:
        room = self.room - tail_bytes(names)
        return room if room >= 0 and self._memory is None else SMALL

    def _too_large(self) -> bool:
        try:
            return self._memory is None and 0 < self.room < self.file.stat().st_size
        except OSError:
            return False

    def _store(self, old: Contents, names: Sequence[str], records: Records, results: Results) -> None:
        try:
            with self._target(names) as (stream, room):
                write(stream, room, old, names, records, results)
        except DataError as error:
            logger.warning("Cache: %s; going on without", error)
            for _ in results:  # what is left to decode
                pass

    @contextmanager
    def _target(self, names: Sequence[str]) -> Iterator[tuple[BinaryIO, int]]:
        """Give the stream to write to, the file or memory, and the bytes it may take for pixels."""
        if tail_bytes(names) <= self.room and self._writable():
            with atomic_write(self.file) as temporary, temporary.open("wb") as file:
                yield file, self._pixel_room(names)
            return
        memory = io.BytesIO()
        yield memory, SMALL
        self._memory = read(memory)

    def _writable(self) -> bool:
        try:
            ensure_writable(self.file.parent, f"the environment variable {FOLDER_VARIABLE}")
        except DataError as error:
            logger.warning("Cache: %s; going on without", error)
            return False
        return True


def new_records(paths: Sequence[Path]) -> tuple[list[str], Records]:
    """Return the absolute path of each image, and its record with nothing but the size and time of its file."""
    names = [os.path.abspath(path) for path in paths]
    records = np.zeros(len(names), RECORD)
    records["offset"] = -1
    stamps = [_stamp(name) for name in names]
    records["bytes"], records["mtime"] = np.array(stamps, np.int64).reshape(-1, 2).T
    return names, records


def _stamp(name: str) -> tuple[int, int]:
    try:
        facts = os.stat(name)
    except (OSError, ValueError):
        return -1, -1
    return facts.st_size, facts.st_mtime_ns


def _recall(
    contents: Contents, names: Sequence[str], limits: npt.NDArray[np.int32] | None, records: Records
) -> npt.NDArray[np.bool_]:
    """Fill in the records of unchanged files, without pixels where they were resized for other limits; say which.

    Without ``limits`` any pixels will do. With them, of two squares the one that fits is taken.
    """
    if not contents.names:
        return np.zeros(len(names), np.bool_)
    place = {name: position for position, name in enumerate(contents.names)}
    places = np.array([place.get(name, -1) for name in names], np.int64)
    found = contents.records[places]
    known: npt.NDArray[np.bool_] = (
        (places >= 0) & (found["bytes"] == records["bytes"]) & (found["mtime"] == records["mtime"])
    )
    records[known] = found[known]
    if limits is not None:
        resized, other = records["side"] > 0, records["side"] != limits
        take = other & (records["second"] == limits) & (records["offset"] >= 0)
        first = pixel_shapes(records).prod(axis=1)
        records["offset"][take] += first[take]
        records["side"][take] = records["second"][take]
        records["second"] = 0
        records["offset"][resized & other & ~take] = -1
    return known
