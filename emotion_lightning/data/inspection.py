"""What every image of a data set is like, and which are copies of one another: looked up, or found out once."""

from typing import NamedTuple

from emotion_lightning.data.cache import Cache
from emotion_lightning.data.duplicates import Pair, find_pairs, group
from emotion_lightning.data.images import Files, PixelRows
from emotion_lightning.data.scan import Scan, scan


class Inspection(NamedTuple):
    """A scan, and the pairs of copies among its images; identical ones are linked in chains."""

    scan: Scan
    pairs: tuple[Pair, ...]

    def copies(self) -> list[str]:
        """Name the images that each is a copy of, itself included, the same for all of them."""
        return [f"copies of image {first}" for first in group(len(self.scan.digests), self.pairs)]


def inspect(source: Files | PixelRows, cache: Cache | None, progress: bool = True) -> Inspection:
    """Decode every image that ``cache`` does not know, and compare all with all.

    Args:
        source: The images.
        cache: Where pixels and findings are looked up and kept.
        progress: Show progress bars on stderr.
    """
    scanned = scan(source, cache, progress)
    return Inspection(scanned, tuple(find_pairs(scanned.thumbnails, scanned.digests, progress)))
