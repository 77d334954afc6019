"""What every image of a data set is like, and which are copies of one another: looked up, or found out once."""

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, get_args
from zipfile import BadZipFile

import numpy as np

from emotion_lightning.data.audit.duplicates import Kind, Pair, find_pairs
from emotion_lightning.data.audit.scan import Scan, look
from emotion_lightning.data.images.cache import Cache
from emotion_lightning.data.images.cached import CachedImages
from emotion_lightning.data.images.decode import Files, PixelRows
from emotion_lightning.data.sources.groups import connected_components
from emotion_lightning.errors import DataError
from emotion_lightning.runs.files import atomic_write

logger = logging.getLogger(__name__)

VERSION = 3
"""To be raised with every change that finds other pairs, or gives other thumbnails: older findings are left alone."""

KINDS: tuple[Kind, ...] = get_args(Kind)


class Inspection(NamedTuple):
    """A scan, the pairs of copies among its images, of which identical ones are linked in chains, and their reader."""

    scan: Scan
    pairs: tuple[Pair, ...]
    read: CachedImages | Files | PixelRows

    def split_groups(self) -> list[Sequence[str | None]]:
        """Keys that keep images in one split: the hash of their pixels, and the group of copies that they belong to.

        An unreadable image has a key of its own, because files with the same damage have nothing in common.
        """
        alike = connected_components(len(self.scan.digests), (pair[:2] for pair in self.pairs))
        broken = [reason is not None for reason in self.scan.reasons]
        return [
            [f"{d} {i}" if lost else d for i, (d, lost) in enumerate(zip(self.scan.digests, broken, strict=True))],
            [None if lost else f"copies of {first}" for first, lost in zip(alike, broken, strict=True)],
        ]


def inspect(source: Files | PixelRows, cache: Cache, progress: bool = True) -> Inspection:
    """Decode every image that ``cache`` does not know, and compare the images unless they were compared before.

    Args:
        source: The images.
        cache: Where pixels and findings are looked up and kept.
        progress: Show progress bars on stderr.
    """
    scanned, thumbnails, read = look(source, cache, progress)
    key = _key(scanned.digests)
    file = cache.index.with_suffix(f".{key[:16]}.pairs")  # one for every choice of the data set's images
    pairs = _recall(file, key)
    if pairs is None:
        pairs = tuple(find_pairs(thumbnails(), scanned.digests, progress))
        if cache.budget_bytes:
            _keep(file, key, pairs)
    return Inspection(scanned, pairs, read)


def _key(digests: Sequence[str]) -> str:
    return hashlib.sha256("\n".join([str(VERSION), *digests]).encode()).hexdigest()


def _recall(file: Path, key: str) -> tuple[Pair, ...] | None:
    try:
        with np.load(file, allow_pickle=False) as saved:
            if str(saved["key"]) != key:
                return None
            columns = [saved[name].tolist() for name in ("first", "second", "similarity", "kind")]
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return None
    return tuple(Pair(first, second, alike, KINDS[kind]) for first, second, alike, kind in zip(*columns, strict=True))


def _keep(file: Path, key: str, pairs: Sequence[Pair]) -> None:
    try:
        with atomic_write(file) as temporary, temporary.open("wb") as stream:
            np.savez(
                stream,
                key=key,
                first=np.array([pair.first for pair in pairs], np.int64),
                second=np.array([pair.second for pair in pairs], np.int64),
                similarity=np.array([pair.similarity for pair in pairs]),
                kind=np.array([KINDS.index(pair.kind) for pair in pairs], np.int8),
            )
    except DataError as error:
        logger.warning("Cache: %s; going on without", error)
