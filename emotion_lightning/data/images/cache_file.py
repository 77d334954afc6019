"""The file of a cache: pixels of many images end to end, then a record of each, their names, and a checked footer.

One file, so that pixels and records cannot come from two different writers.
"""

import hashlib
import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import PIL

from emotion_lightning.data.images.thumbnail import THUMBNAIL

RECORD = np.dtype(
    [
        ("bytes", "<i8"),  # size of the image's file, and when it was written in ns: who has both is unchanged
        ("mtime", "<i8"),
        ("width", "<i4"),  # of the whole upright image
        ("height", "<i4"),
        ("frames", "<i4"),
        ("mode", "S8"),
        ("format", "S8"),
        ("digest", "u1", (32,)),
        ("thumbnail", "u1", (THUMBNAIL, THUMBNAIL)),
        ("offset", "<i8"),  # where its pixels begin; -1 where none are kept
        ("side", "<i4"),  # of the square that it was resized to; 0 where the pixels are the image's own
        ("second", "<i4"),  # side of another square of it that follows; 0 without
        ("channels", "<i4"),  # 1 for an image whose red, green and blue are equal
    ]
)
Records = npt.NDArray[np.void]
"""Array of dtype ``RECORD``, one element per image."""

Pixels = npt.NDArray[np.uint8]
Results = Iterator[tuple[int, Pixels | None]]

SMALL = 64_000_000
"""Bytes of pixels up to which they are read into memory at once; more are mapped, and read as they are needed."""

_MAGIC = b"EMOTION2"  # raise the number when the layout, a record's meaning or the way of decoding changes
FORMAT = f"{_MAGIC!r} {RECORD.descr} Pillow {PIL.__version__}"
"""What files must have in common to be used in place of one another."""

_FOOTER = struct.Struct("<8sQQQ32s")  # magic; bytes of pixels, records and names; SHA-256 of all but the pixels


@dataclass(frozen=True, eq=False)
class Contents:
    """What a cache file holds.

    Attributes:
        names: Absolute path of each image.
        records: Record of each.
        pixels: Bytes that the records' offsets count in, uint8 of shape ``(bytes,)``.
        digest: SHA-256 of all but the pixels; tells one version of the file from another.
    """

    names: tuple[str, ...]
    records: Records
    pixels: Pixels
    digest: bytes


EMPTY = Contents((), np.zeros(0, RECORD), np.zeros(0, np.uint8), b"")


def pixel_shapes(records: Records) -> npt.NDArray[np.int64]:
    """Height, width and channels of the pixels kept, shape ``(N, 3)``."""
    height, width = (np.where(records["side"] > 0, records["side"], records[name]) for name in ("height", "width"))
    return np.stack([height, width, records["channels"]], axis=-1).astype(np.int64)


def kept_bytes(records: Records) -> npt.NDArray[np.int64]:
    """Bytes of the pixels kept for each image, or that would be, shape ``(N,)``."""
    second = records["second"].astype(np.int64) ** 2 * records["channels"]
    total: npt.NDArray[np.int64] = pixel_shapes(records).prod(axis=1) + second
    return total


def tail_bytes(names: Iterable[str]) -> int:
    """Bytes that the records and names of images take, with the footer."""
    return _FOOTER.size + sum(RECORD.itemsize + len(os.fsencode(name)) + 1 for name in names)


def write(stream: BinaryIO, room: int, old: Contents, names: Sequence[str], records: Records, results: Results) -> None:
    """Write what ``records`` keep of ``old``, then new images, then others of ``old``, as far as there is room.

    Args:
        stream: An empty file.
        room: Most bytes for pixels, and for the records of others.
        old: What the offsets in ``records`` are positions in.
        names: Absolute path of each image.
        records: Record of each; the offsets are set to the new ones, and those with width 0 left out.
        results: Positions of new images, with their pixels; None for those that cannot be read.
    """
    pixels = _Pixels(stream, room)
    pixels.move(old, records)
    for position, new in results:
        if new is not None:
            records["offset"][position] = pixels.add(new)
    readable = np.flatnonzero(records["width"]).tolist()
    other_names, others = _others(old, set(names))
    if pixels.end + tail_bytes(other_names) > room:
        other_names, others = [], others[:0]
    pixels.room -= tail_bytes(other_names)
    pixels.move(old, others)
    all_names = [names[position] for position in readable] + other_names
    _write_tail(stream, pixels.end, all_names, np.concatenate([records[readable], others]))


def _others(old: Contents, names: set[str]) -> tuple[list[str], Records]:
    """Return the images of ``old`` that are not in ``names``, and still there."""
    places = [place for place, name in enumerate(old.names) if name not in names and os.path.exists(name)]
    return [old.names[place] for place in places], old.records[places]


class _Pixels:
    """Writes pixels end to end, as far as there is room."""

    def __init__(self, stream: BinaryIO, room: int) -> None:
        self.stream, self.room, self.end = stream, room, 0

    def add(self, pixels: Pixels) -> int:
        """Return where the pixels begin; -1 where they find no room."""
        if self.end + pixels.size > self.room:
            return -1
        self.stream.write(np.ascontiguousarray(pixels).data)
        self.end += pixels.size
        return self.end - pixels.size

    def move(self, old: Contents, records: Records) -> None:
        """Take over what ``records`` have in ``old``, and set their offsets anew."""
        sizes = kept_bytes(records)
        for position in np.flatnonzero(records["offset"] >= 0).tolist():
            offset = int(records["offset"][position])
            records["offset"][position] = self.add(old.pixels[offset : offset + int(sizes[position])])


def _write_tail(stream: BinaryIO, pixel_bytes: int, names: Sequence[str], records: Records) -> None:
    """Complete a file whose pixels are written."""
    tail = [np.ascontiguousarray(records).tobytes(), b"\0".join(map(os.fsencode, names))]
    sizes = pixel_bytes, *map(len, tail)
    for part in (*tail, _FOOTER.pack(_MAGIC, *sizes, _digest(sizes, tail))):
        stream.write(part)


def read(stream: BinaryIO) -> Contents:
    """Read a whole file, checking it.

    Raises:
        ValueError: It is truncated, damaged, or no cache.
    """
    pixel_bytes, record_bytes, name_bytes, digest = _read_footer(stream)
    stream.seek(pixel_bytes)
    tail = [stream.read(record_bytes), stream.read(name_bytes)]
    if _digest((pixel_bytes, record_bytes, name_bytes), tail) != digest:
        raise ValueError("its checksum is wrong")
    names = tuple(map(os.fsdecode, tail[1].split(b"\0"))) if record_bytes else ()
    return Contents(names, np.frombuffer(tail[0], RECORD), _read_pixels(stream, pixel_bytes), digest)


def read_pixels(stream: BinaryIO, digest: bytes) -> Pixels:
    """Read the pixels of the version with this ``digest`` only.

    Raises:
        ValueError: The file is truncated, no cache, or another version.
    """
    pixel_bytes, _, _, found = _read_footer(stream)
    if found != digest:
        raise ValueError("it is another version")
    return _read_pixels(stream, pixel_bytes)


def _read_footer(stream: BinaryIO) -> tuple[int, int, int, bytes]:
    size = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, size - _FOOTER.size))
    footer = stream.read(_FOOTER.size)
    if len(footer) < _FOOTER.size or not footer.startswith(_MAGIC):
        raise ValueError("it does not end as a cache does")
    _, pixels, records, names, digest = _FOOTER.unpack(footer)
    if pixels + records + names + _FOOTER.size != size or records % RECORD.itemsize:
        raise ValueError("it has not the length that it should have")
    return pixels, records, names, digest


def _read_pixels(stream: BinaryIO, size: int) -> Pixels:
    if size > SMALL:
        return np.asarray(np.memmap(stream, np.uint8, "r", shape=(size,)))
    stream.seek(0)
    return np.frombuffer(stream.read(size), np.uint8)


def _digest(sizes: Iterable[int], tail: Iterable[Any]) -> bytes:
    digest = hashlib.sha256(repr(tuple(sizes)).encode())
    for part in tail:
        digest.update(part)
    return digest.digest()
