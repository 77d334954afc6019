"""One look at every image of a data set: whether it can be read, and what it is like."""

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from emotion_lightning.data.images.cache import Cache, new_records
from emotion_lightning.data.images.cache_file import RECORD, Pixels, Records, Results
from emotion_lightning.data.images.decode import MAX_BYTES, Decoded, Files, PixelRows, UnreadableImage, decode
from emotion_lightning.data.images.thumbnail import THUMBNAIL, thumbnail

SMALL_FILE = 8_000
"""Mean size in bytes up to which one thread decodes faster than several, which would wait for the interpreter."""

CHUNK = 16
"""Images that a thread decodes at a time."""

S = TypeVar("S")
T = TypeVar("T")
Look = tuple[dict[str, Any], Pixels]


@dataclass(frozen=True, eq=False)
class Scan:
    """What is known of each image: parallel arrays with a position for each.

    Attributes:
        reasons: Why the image cannot be read; None where it can.
        digests: SHA-256, in hexadecimal, of the size and the pixels of the upright RGB image, the same for identical
            images however they are encoded; of the file's bytes where the image is unreadable, or a JPEG file of more
            than ``images.LARGE`` pixels, which need not be decoded whole; and of its path where the file is
            unreadable, too, or larger than ``images.MAX_BYTES``.
        widths: Pixels of the upright image, int32; 0 where unreadable, as all that follows.
        heights: Pixels of the upright image, int32.
        frames: Number of frames, int32; above 1 for an animation.
        modes: Pillow's name of the pixels in the file, such as "L" or "CMYK"; "" where unreadable.
        formats: Pillow's name of the file's format, such as "JPEG"; "" where unreadable or not from a file.
        thumbnails: Gray thumbnails by ``duplicates.thumbnail``, uint8 of shape ``(N, T, T)``; those of images that were
            decoded at a reduced size are a gray level or so off.
        sizes: Bytes of the file, int64; 0 where there is none.
    """

    reasons: tuple[str | None, ...]
    digests: tuple[str, ...]
    widths: npt.NDArray[np.int32]
    heights: npt.NDArray[np.int32]
    frames: npt.NDArray[np.int32]
    modes: tuple[str, ...]
    formats: tuple[str, ...]
    thumbnails: npt.NDArray[np.uint8]
    sizes: npt.NDArray[np.int64]


def scan(source: Files | PixelRows, cache: Cache | None, progress: bool = True) -> Scan:
    """Look at every image of ``source``, decoding those that ``cache`` does not know.

    Args:
        source: The images.
        cache: Where records and pixels are looked up and kept; unreadable files are not, and images that are not
            files need none.
        progress: Show a progress bar on stderr while images are decoded.
    """
    if isinstance(source, PixelRows):
        return _scan_rows(source, progress)
    paths = list(dict.fromkeys(source.paths))
    place = {path: position for position, path in enumerate(paths)}
    places = np.array([place[path] for path in source.paths], np.int64)
    names, records = new_records(paths)
    limits = np.zeros(len(paths), np.int32)
    if cache is not None:  # a file that is used at two sizes is kept for the larger
        np.maximum.at(limits, places, np.broadcast_to(np.asarray(cache.limits, np.int32), len(places)))
    reasons: dict[int, str] = {}

    def examine(positions: Sequence[int]) -> Results:
        second = 0 if cache is None else cache.second
        jobs = [(paths[position], int(limits[position]), second) for position in positions]
        small = bool(positions) and records["bytes"][positions].mean() <= SMALL_FILE
        looks = _in_threads(_try_file, jobs, 1 if small else os.cpu_count() or 1)
        for position, seen in zip(positions, _shown(looks, len(positions), len(paths), progress), strict=True):
            if isinstance(seen, str):
                reasons[position] = seen
                records["digest"][position] = _file_digest(paths[position])
                yield position, None
            else:
                _fill_in(records[position], seen[0])
                yield position, seen[1]

    if cache is None:
        deque(examine(range(len(paths))), maxlen=0)
    else:
        cache.fill(names, limits, records, examine)
    return _as_scan(records[places], [reasons.get(position) for position in places.tolist()])


def _scan_rows(source: PixelRows, progress: bool) -> Scan:
    count = len(source.pixels)
    records = np.zeros(count, RECORD)
    height, width = source.pixels.shape[1:]
    looks = (
        _look(Decoded(source(index), (0, 0, width, height), width, height, "L", "", 1), 0)[0] for index in range(count)
    )
    for record, facts in zip(records, _shown(looks, count, count, progress), strict=True):
        _fill_in(record, facts)
    return _as_scan(records, [None] * count)


def _as_scan(records: Records, reasons: Sequence[str | None]) -> Scan:
    def column(name: str) -> npt.NDArray[Any]:
        return np.ascontiguousarray(records[name])  # of its own, for the records hold what nobody needs any more

    return Scan(
        reasons=tuple(reasons),
        digests=tuple(digest.tobytes().hex() for digest in records["digest"]),
        widths=column("width"),
        heights=column("height"),
        frames=column("frames"),
        modes=tuple(records["mode"].astype(str).tolist()),
        formats=tuple(records["format"].astype(str).tolist()),
        thumbnails=column("thumbnail"),
        sizes=np.maximum(records["bytes"], 0),
    )


def _try_file(job: tuple[Path, int, int]) -> Look | str:
    """Decode a file and look at it; the reason where it is unreadable."""
    path, limit, second = job
    try:
        return _look(decode(path, limit or THUMBNAIL), limit, second, path)
    except UnreadableImage as error:
        return error.reason


def _look(decoded: Decoded, limit: int, second: int = 0, path: Path | None = None) -> Look:
    """Return the fields of the image's record, and its pixels as they are to be kept."""
    image, rgb = decoded.image, np.asarray(decoded.image)
    kept, side = _kept(decoded, rgb, limit, second, path)
    if path is None or not decoded.reducible:
        digest = _digest(f"{image.width} x {image.height}".encode(), rgb.data)
    else:  # what its pixels are depends on the limit
        digest = _file_digest(path)
    facts = {
        "width": decoded.width,
        "height": decoded.height,
        "frames": min(decoded.frames, np.iinfo(np.int32).max),
        "mode": decoded.mode,
        "format": decoded.format,
        "digest": digest,
        "thumbnail": thumbnail(image, decoded.box),
        "side": side,
        "second": second if side else 0,
        "channels": 1 if all(map(_is_gray, kept)) else 3,
    }
    blocks = [pixels[..., 0] if facts["channels"] == 1 else pixels for pixels in kept]
    return facts, blocks[0] if len(blocks) == 1 else np.concatenate([block.ravel() for block in blocks])


def _kept(decoded: Decoded, rgb: Pixels, limit: int, second: int, path: Path | None) -> tuple[list[Pixels], int]:
    """Return the RGB pixels to keep, of two sizes if need be, and the side of the first; 0 where not resized.

    With a limit of 0 nothing is kept. A second square comes from what the file is decoded to for its own side.
    """
    if limit == 0:
        return [np.zeros((0, 0, 3), np.uint8)], 0
    if decoded.width * decoded.height <= limit * limit:
        return [rgb], 0
    squares = [decoded.square(limit)]
    if second:
        if path is not None and decoded.reduction(second) != decoded.reduction(limit):
            decoded = decode(path, second)
        squares.append(decoded.square(second))
    return [np.asarray(image) for image in squares], limit


def _is_gray(pixels: Pixels) -> bool:
    red, green, blue = pixels[..., 0], pixels[..., 1], pixels[..., 2]
    return np.array_equal(red, green) and np.array_equal(red, blue)


def _fill_in(record: np.void, facts: dict[str, Any]) -> None:
    for name, value in facts.items():
        record[name] = value


def _digest(*parts: bytes | memoryview) -> npt.NDArray[np.uint8]:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return np.frombuffer(digest.digest(), np.uint8)


def _file_digest(path: Path) -> npt.NDArray[np.uint8]:
    try:
        if path.is_file() and path.stat().st_size <= MAX_BYTES:  # neither a pipe, which waits, nor a whole disk
            return _digest(path.read_bytes())
    except (OSError, ValueError):
        pass
    return _digest(os.fsencode(path))


def _shown(items: Iterable[T], count: int, total: int, progress: bool) -> Iterator[T]:
    """Show how far ``count`` items are, of ``total`` images of which the others are known; no bar without any."""
    disable = not (progress and count)
    try:
        yield from tqdm(items, "Checking images", total, unit=" images", initial=total - count, disable=disable)
    except OSError as error:  # which the cache would take for its own
        raise RuntimeError(f"progress cannot be shown: {error}") from error


def _in_threads(function: Callable[[S], T], items: Sequence[S], workers: int) -> Iterator[T]:
    """Map in order, a few chunks ahead of what is taken: pixels waiting to be written must not fill the memory."""
    if workers == 1:
        yield from map(function, items)
        return
    pool, waiting = ThreadPoolExecutor(workers), deque[Future[list[T]]]()
    try:
        for start in range(0, len(items), CHUNK):
            waiting.append(pool.submit(list, map(function, items[start : start + CHUNK])))
            if len(waiting) > 2 * workers:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
