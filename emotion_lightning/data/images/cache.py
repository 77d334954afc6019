"""The cache of decoded images on disk: a memory-mapped file of pixels and thumbnails, and an index of what is where."""

import hashlib
import logging
import math
import os
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from uuid import uuid4

import numpy as np
import numpy.typing as npt
import PIL

from emotion_lightning.data.images.cached import CachedImages, Pixels, mapped
from emotion_lightning.data.images.region import file_name
from emotion_lightning.data.images.thumbnail import THUMBNAIL
from emotion_lightning.errors import DataError, UsageError
from emotion_lightning.runs.files import atomic_write, ensure_writable, free_bytes
from emotion_lightning.runs.temporary import is_left, owner, sweep

logger = logging.getLogger(__name__)

CACHE_VARIABLE = "EMOTION_LIGHTNING_CACHE"
"""Environment variable that names the folder of all caches."""

RECORD = np.dtype(
    [
        ("stamp", "<i8", (4,)),  # inode and size of the file, times of its last write and last change in ns
        ("width", "<i4"),  # of the whole upright image; 0 where it cannot be read
        ("height", "<i4"),
        ("frames", "<i4"),
        ("mode", "S8"),
        ("format", "S8"),
        ("digest", "u1", (32,)),
        ("thumbnail", "<i8"),  # where its thumbnail is in the file of pixels; -1 where none is
        ("offset", "<i8"),  # of its pixels; -1 where none are kept
        ("shape", "<i4", (3,)),  # height, width and channels of its pixels; 1 channel where red, green and blue agree
        ("checksum", "<u4"),  # CRC-32 of its pixels
    ]
)
Records = npt.NDArray[np.void]
"""Array of dtype ``RECORD``, one element per image."""

Thumbnails = npt.NDArray[np.uint8]
"""Gray pictures by ``thumbnail``, ``(N, THUMBNAIL, THUMBNAIL)``."""

Kept = tuple[int, Pixels, Pixels]
"""Position of an image, its pixels and its thumbnail."""

VERSION = 4
"""Raise it when a record's meaning or the way of decoding changes."""

RESERVED = 256 * 10**6
"""Bytes that the cache leaves free on its disk, for the run that it is for."""

CLOCK_TICK = 2.0
"""Longest time in seconds between two ticks of a file system's clock: FAT's."""


class Cache:
    """Decoded pixels and records of a data set's images for one side.

    An image is kept as it is if it has at most ``side`` x ``side`` pixels, else resized to that square, so that it
    equals, to the bit, what ``images.decode.open_image`` gives for that side. A file counts as unchanged whose path,
    inode, size and times of last write and last change are the same, those of the target where it is a link. A user can
    set back all of these but the last change, which Windows does not tell. A file that was changed within a tick of the
    clock before it was decoded is not trusted, since it may change again in that tick.

    Each version has a pixel file of its own name, and the index names it: the two cannot come from different writers.
    An old pixel file is removed after the index names the new one. A process that has mapped it keeps its content; on
    Windows the file stays until :meth:`_make_room` can remove it.

    Args:
        root: Folder that names the data set.
        side: Side in pixels of the square that images will be used at.
        budget_gb: Most that the caches of all data sets may take on disk in 10⁹ bytes; 0 keeps nothing.
        folder: Where the files are; by default ``EMOTION_LIGHTNING_CACHE``, or the user's cache folder.

    Raises:
        UsageError: ``budget_gb`` is negative or not finite.
    """

    def __init__(self, root: Path, side: int, budget_gb: float = 10.0, folder: Path | None = None) -> None:
        if not 0 <= budget_gb < math.inf:
            raise UsageError(f"`cache_gb` {budget_gb:g} is no size: give a number from 0, which is none on disk")
        self.side, self.budget_bytes = side, int(budget_gb * 1e9)
        key = f"{os.path.abspath(root)}\0{side}\0{VERSION}\0{RECORD.descr}\0{PIL.__version__}"
        name = hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()[:32]
        self.index = (folder or cache_folder()) / f"decoded-{name}.npz"
        self._records, self._pixels_name = np.zeros(0, RECORD), ""

    def lookup(self, paths: Sequence[Path | str]) -> tuple[Records, npt.NDArray[np.int64]]:
        """Return the record of each image, and the positions of those that are missing or have changed."""
        records, names = new_records(paths), self._read_index()
        places = np.array([names.get(os.fspath(path), -1) for path in paths], np.int64)
        for place in np.flatnonzero(places < 0).tolist():
            places[place] = names.get(os.path.abspath(paths[place]), -1)
        found = np.flatnonzero(places >= 0)
        same = (self._records["stamp"][places[found]] == records["stamp"][found]).all(axis=1)
        known = found[same & (records["stamp"][found, -1] >= 0)]
        records[known] = self._records[places[known]]
        missing = np.ones(len(paths), np.bool_)
        missing[known] = False
        return records, np.flatnonzero(missing)

    def thumbnails(self, records: Records) -> Callable[[], Thumbnails]:
        """Return what reads the thumbnails of images that :meth:`lookup` found, whatever is stored before it does."""
        return partial(_thumbnails, self._mapped(), records["thumbnail"].copy())

    def store(self, paths: Sequence[Path | str], records: Records, decoded: Iterator[Kept]) -> None:
        """Keep the images that :meth:`lookup` found and those in ``decoded``, as far as the budget goes.

        Args:
            paths: The images.
            records: Record of each; unreadable images have width 0 and are not kept.
            decoded: Newly decoded images.
        """
        try:
            ensure_writable(self.index.parent, f"the environment variable {CACHE_VARIABLE}")
            self._write(paths, records, decoded)
        except DataError as error:
            logger.warning("Cache: %s; going on without", error)
            records["offset"] = -1
            for _ in decoded:  # what is left to decode, for its records
                pass
        self._make_room()

    def touch(self) -> None:
        """Note that the cache is used, so that others are removed before it."""
        with suppress(OSError):
            os.utime(self.index)
            self._make_room()

    def reader(self, paths: Sequence[Path | str], records: Records | None = None) -> "CachedImages":
        """Return what reads the images at ``paths``, from the cache where it has them.

        Args:
            paths: The images.
            records: Record of each as :meth:`lookup` found or :meth:`store` kept it; by default it is looked up.
        """
        if records is None:
            records, _ = self.lookup(paths)
        offsets = np.where(records["stamp"][:, -1] < 0, -1, records["offset"])  # one that may change is not trusted
        return CachedImages(
            paths, self.side, offsets, records["shape"].copy(), records["checksum"].copy(), self._pixels
        )

    @property
    def _pixels(self) -> Path | None:
        return self.index.parent / self._pixels_name if self._pixels_name else None

    def _read_index(self) -> dict[str, int]:
        """Read the index; return the position of each path in its records."""
        self._records, self._pixels_name = np.zeros(0, RECORD), ""
        if not self.budget_bytes or not self.index.is_file():
            return {}
        try:
            with np.load(self.index, allow_pickle=False) as saved:
                if damaged := saved.zip.testzip():
                    raise ValueError(f"{damaged} in it is damaged")
                names, records, pixels = saved["names"].tobytes(), saved["records"], str(saved["pixels"])
            size = (self.index.parent / pixels).stat().st_size
            kept = int(_sizes(records).sum())
            if records.dtype != RECORD or size != kept + THUMBNAIL**2 * len(records):
                raise ValueError("index and pixels do not fit")
        except Exception as error:  # a damaged archive makes its reader raise nearly anything
            logger.warning("Cache: %s is not used, and made anew: %s", self.index, error)
            return {}
        if kept > self.budget_bytes:  # of a run with a larger budget
            return {}
        self._records, self._pixels_name = records, pixels
        return {os.fsdecode(name): place for place, name in enumerate(names.split(b"\0")) if len(records)}

    def _write(self, paths: Sequence[Path | str], records: Records, decoded: Iterator[Kept]) -> None:
        old, old_name, free = self._mapped(), self._pixels_name, self._free(paths)
        room = min(self.budget_bytes, free)
        name = f"{self.index.stem}-{uuid4().hex}.{owner()}.pixels"
        with atomic_write(self.index.parent / name) as temporary, temporary.open("wb") as stream:

            def keep(position: int, pixels: Pixels, thumbnail: Pixels) -> None:
                nonlocal room
                records["offset"][position] = -1
                if 0 < pixels.size <= room:
                    records["offset"][position] = stream.tell()
                    stream.write(pixels.data)
                    room -= pixels.size
                records["thumbnail"][position] = stream.tell()
                stream.write(np.ascontiguousarray(thumbnail).data)

            for position in np.flatnonzero(records["thumbnail"] >= 0).tolist():
                picture, start = int(records["thumbnail"][position]), int(records["offset"][position])
                pixels = old[start : start + int(_sizes(records[position]))]  # none where none are kept
                keep(position, pixels, old[picture : picture + THUMBNAIL**2])
            for position, pixels, thumbnail in decoded:
                pixels = np.ascontiguousarray(pixels)
                records["shape"][position], records["checksum"][position] = pixels.shape, zlib.crc32(pixels.data)
                keep(position, pixels, thumbnail)
        kept = np.flatnonzero(records["width"])
        names = b"\0".join(os.fsencode(os.path.abspath(paths[position])) for position in kept.tolist())
        with atomic_write(self.index) as temporary, temporary.open("wb") as stream:
            np.savez(stream, names=np.frombuffer(names, np.uint8), records=records[kept], pixels=name)
        self._pixels_name = name
        if (without := int((records["offset"][kept] < 0).sum())) and free < self.budget_bytes:
            logger.warning(
                "Cache: for want of space in %s %s of %s images are not kept, and are decoded from their files each "
                "time; free space, or choose another folder by the environment variable %s",
                *(self.index.parent, f"{without:,}", f"{len(kept):,}", CACHE_VARIABLE),
            )
        if old_name:
            with suppress(OSError):
                (self.index.parent / old_name).unlink()

    def _free(self, paths: Sequence[Path | str]) -> int:
        """Bytes on the disk that pixels may take, beside what is kept of every image and what others will write.

        Raises:
            DataError: There are none.
        """
        others = RESERVED + sum(THUMBNAIL**2 + RECORD.itemsize + len(os.fspath(path)) for path in paths)
        if (free := free_bytes(self.index.parent)) <= others:
            raise DataError(
                f"{free / 1e6:.0f} MB are free in {self.index.parent}, and a run needs {others / 1e6:.0f} MB beside "
                f"its checkpoints; free space, or choose another folder by the environment variable {CACHE_VARIABLE}"
            )
        return free - others

    def _mapped(self) -> Pixels:
        path = self._pixels
        return np.zeros(0, np.uint8) if path is None else mapped(path)

    def _make_room(self) -> None:
        """Remove what killed runs left, then the caches that were used least recently, down to the budget."""
        folder, total = self.index.parent, 0
        caches: dict[Path, tuple[float, int]] = {}
        for index in folder.glob("decoded-*.npz"):
            with suppress(OSError):
                sizes = [path.stat().st_size for path in (index, *folder.glob(f"{index.stem}-*.pixels"))]
                caches[index], total = (index.stat().st_mtime, sum(sizes)), total + sum(sizes)
        sweep(folder)
        named = {self._pixels_name, *map(_pixels_named, caches)}
        for left in folder.glob("decoded-*.pixels"):
            with suppress(OSError):
                if left.name not in named and is_left(left):
                    left.unlink()
        for index in sorted(caches.keys() - {self.index}, key=lambda path: caches[path]):
            if total <= self.budget_bytes:
                return
            for path in (index, *folder.glob(f"{index.stem}*")):
                with suppress(OSError):
                    path.unlink()
            total -= caches[index][1]


def new_records(paths: Sequence[Path | str]) -> Records:
    """Return a record of each image with only its file's stamp, whose last item is -1 where it has just changed."""
    records, settled = np.zeros(len(paths), RECORD), time.time_ns() - int(CLOCK_TICK * 1e9)
    records["stamp"] = np.array([_stamp(path) for path in paths], np.int64).reshape(-1, 4)
    changed = records["stamp"][:, -1]
    changed[changed > settled] = -1
    records["thumbnail"] = records["offset"] = -1
    return records


def cache_folder() -> Path:
    """Folder named by ``EMOTION_LIGHTNING_CACHE``, by default ``emotion_lightning`` in the user's cache folder."""
    if given := os.environ.get(CACHE_VARIABLE):
        return Path(given).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "emotion_lightning"


def _pixels_named(index: Path) -> str:
    """Name of the pixel file that an index names now, whichever process has written it; nothing if it is damaged."""
    try:
        with np.load(index, allow_pickle=False) as saved:
            return str(saved["pixels"])
    except Exception:  # a damaged archive makes its reader raise nearly anything
        return ""


def _thumbnails(file: Pixels, starts: npt.NDArray[np.int64]) -> Thumbnails:
    found = np.empty((len(starts), THUMBNAIL, THUMBNAIL), np.uint8)
    for thumbnail, start in zip(found.reshape(-1, THUMBNAIL**2), starts.tolist(), strict=True):
        thumbnail[:] = file[start : start + THUMBNAIL**2]
    return found


def _sizes(records: Records) -> npt.NDArray[np.int64]:
    """Bytes of the pixels kept for each image."""
    sizes: npt.NDArray[np.int64] = records["shape"].astype(np.int64).prod(axis=-1) * (records["offset"] >= 0)
    return sizes


def _stamp(path: Path | str) -> tuple[int, int, int, int]:
    try:
        facts = os.stat(file_name(os.fspath(path)))
    except (OSError, ValueError):
        return -1, -1, -1, -1
    inode = facts.st_ino % 2**63  # some file systems use all 64 bits, or more
    return inode, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns
