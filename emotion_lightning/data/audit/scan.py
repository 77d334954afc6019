"""One look at every image of a data set: whether it can be read, and what it is like."""

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from tqdm import tqdm

from emotion_lightning.data.images.cache import RECORD, Cache, Kept, Records, Thumbnails, new_records
from emotion_lightning.data.images.cached import CachedImages, Pixels
from emotion_lightning.data.images.decode import MAX_BYTES, Decoded, Files, PixelRows, UnreadableImage, decode
from emotion_lightning.data.images.region import split_region
from emotion_lightning.data.images.thumbnail import THUMBNAIL, thumbnail

SMALL_FILE = 8_000
"""Mean size in bytes up to which one thread decodes faster than several, which would wait for the interpreter."""

CHUNK = 16
"""Images that a thread decodes at a time."""

S = TypeVar("S")
T = TypeVar("T")
Probe = tuple[dict[str, Any], Pixels, Pixels]
"""What is found out about an image: fields of its record, the pixels to keep, and its thumbnail."""


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
        sizes: Bytes of the file, int64; 0 where there is none.
    """

    reasons: tuple[str | None, ...]
    digests: tuple[str, ...]
    widths: npt.NDArray[np.int32]
    heights: npt.NDArray[np.int32]
    frames: npt.NDArray[np.int32]
    modes: tuple[str, ...]
    formats: tuple[str, ...]
    sizes: npt.NDArray[np.int64]


def scan(source: Files | PixelRows, cache: Cache | None, progress: bool = True) -> Scan:
    """Look at every image of ``source``, decoding those that ``cache`` does not have.

    Args:
        source: The images.
        cache: Where records and pixels are looked up and stored; unreadable files are not, and images that are not
            files need none.
        progress: Show a progress bar on stderr while images are decoded.
    """
    return look(source, cache, progress).scan


class Look(NamedTuple):
    """A scan, and what of it is not read before it is called.

    Attributes:
        scan: What is known of each image.
        thumbnails: Gives the thumbnail of each image, black where it is unreadable; of images that were decoded at a
            reduced size a gray level or so off.
        read: Reads the image at a position, from the cache where it has what was looked at.
    """

    scan: Scan
    thumbnails: Callable[[], Thumbnails]
    read: CachedImages | Files | PixelRows


def look(source: Files | PixelRows, cache: Cache | None, progress: bool = True) -> Look:
    """Look as :func:`scan` does."""
    if isinstance(source, PixelRows):
        return _scan_rows(source, progress)
    place: dict[str, int] = {}
    places = [place.setdefault(name, len(place)) for name in source.names]
    paths = list(place)
    side = THUMBNAIL if cache is None else cache.side
    records, missing = (new_records(paths), np.arange(len(paths))) if cache is None else cache.lookup(paths)
    reasons: dict[int, str] = {}
    known = np.setdiff1d(np.arange(len(paths)), missing)
    kept = None if cache is None else cache.thumbnails(records[known])
    fresh = np.zeros((len(missing), THUMBNAIL, THUMBNAIL), np.uint8)
    decoded = _decode_missing(paths, missing.tolist(), side, records, fresh, reasons, progress)
    first = next(decoded, None)  # none where all that is missing is unreadable
    if first is not None and cache is not None and cache.budget_bytes:
        cache.store(paths, records, chain([first], decoded))
    elif cache is not None:
        cache.touch()
    deque(decoded, maxlen=0)  # the rest, without a cache to store it

    def thumbnails() -> Thumbnails:
        found = fresh
        if kept is not None and len(known):
            found = np.empty((len(paths), THUMBNAIL, THUMBNAIL), np.uint8)
            found[known], found[missing] = kept(), fresh
        return found if len(paths) == len(places) else found[places]

    found = records if len(paths) == len(places) else records[places]
    scanned = _as_scan(found, [reasons.get(position) for position in places])
    return Look(scanned, thumbnails, source if cache is None else cache.reader(source.names, found))


def content_hashes(digests: Sequence[str]) -> Tensor:
    """The first 64 bits of each hexadecimal digest, int64 ``(N,)``."""
    return torch.tensor([int(digest[:16], 16) - 2**63 for digest in digests], dtype=torch.int64)


def _decode_missing(
    paths: Sequence[str],
    positions: Sequence[int],
    side: int,
    records: Records,
    thumbnails: Thumbnails,
    reasons: dict[int, str],
    progress: bool,
) -> Iterator[Kept]:
    """Decode the images at ``positions``, fill in their records and thumbnails, or the reasons of unreadable ones."""
    small = bool(positions) and records["stamp"][positions, 1].mean() <= SMALL_FILE
    jobs = [(Path(paths[position]), side) for position in positions]
    probes = _in_threads(_try_file, jobs, 1 if small else os.cpu_count() or 1)
    shown = _shown(probes, len(positions), len(paths), progress)
    for position, picture, probe in zip(positions, thumbnails, shown, strict=True):
        if isinstance(probe, str):
            reasons[position] = probe
            records["digest"][position] = _file_digest(Path(paths[position]))
        else:
            facts, pixels, picture[:] = probe
            _fill_in(records[position], facts)
            yield position, pixels, picture


def _scan_rows(source: PixelRows, progress: bool) -> Look:
    count = len(source.pixels)
    records, thumbnails = np.zeros(count, RECORD), np.zeros((count, THUMBNAIL, THUMBNAIL), np.uint8)
    height, width = source.pixels.shape[1:]
    probes = (
        _probe(Decoded(source(index), (0, 0, width, height), width, height, "L", "", 1), THUMBNAIL)
        for index in range(count)
    )
    shown = _shown(probes, count, count, progress)
    for place, (facts, _, thumbnails[place]) in enumerate(shown):
        _fill_in(records[place], facts)
    return Look(_as_scan(records, [None] * count), lambda: thumbnails, source)


def _as_scan(records: Records, reasons: Sequence[str | None]) -> Scan:
    def column(name: str) -> npt.NDArray[Any]:
        return np.ascontiguousarray(records[name])  # a copy, so that the record array can be freed

    return Scan(
        reasons=tuple(reasons),
        digests=tuple(digest.tobytes().hex() for digest in records["digest"]),
        widths=column("width"),
        heights=column("height"),
        frames=column("frames"),
        modes=tuple(records["mode"].astype(str).tolist()),
        formats=tuple(records["format"].astype(str).tolist()),
        sizes=np.maximum(records["stamp"][:, 1], 0),
    )


def _try_file(job: tuple[Path, int]) -> Probe | str:
    """Decode a file and look at it; return the reason where it is unreadable."""
    path, side = job
    try:
        with ExitStack() as turn:
            return _probe(decode(path, side, turn), side, path)
    except UnreadableImage as error:
        return error.reason


def _probe(decoded: Decoded, side: int, path: Path | None = None) -> Probe:
    """Return the fields of the image's record, its pixels as they are to be kept, and its thumbnail."""
    image = decoded.image
    rgb = np.asarray(image)
    pixels = rgb if decoded.width * decoded.height <= side * side else np.asarray(decoded.square(side))
    if path is None or not decoded.reducible:
        digest = _digest(f"{image.width} x {image.height}".encode(), rgb.data)
    else:  # its pixels depend on the side that it is decoded for
        digest = _file_digest(path)
    facts = {
        "width": decoded.width,
        "height": decoded.height,
        "frames": min(decoded.frames, np.iinfo(np.int32).max),
        "mode": decoded.mode,
        "format": decoded.format,
        "digest": digest,
    }
    return facts, pixels[..., :1] if _is_gray(pixels) else pixels, thumbnail(image, decoded.box)


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
    file, region = split_region(path)
    try:
        if file.is_file() and file.stat().st_size <= MAX_BYTES:  # neither a pipe, which waits, nor a whole disk
            return _digest(file.read_bytes(), str(region).encode() if region else b"")
    except (OSError, ValueError):
        pass
    return _digest(os.fsencode(path))


def _shown(items: Iterable[T], count: int, total: int, progress: bool) -> Iterator[T]:
    """Show how far ``count`` items are, of ``total`` images of which the others are known; no bar without any."""
    disable = None if progress and count else True  # None: unless it is a terminal
    try:
        yield from tqdm(
            items, "Checking images", total, unit=" images", initial=total - count, disable=disable, leave=False
        )
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
