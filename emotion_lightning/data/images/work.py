"""Limits on the work and the memory that an image takes to decode, whatever its pixels and bytes promise."""

import re
from threading import RLock

from PIL import Image

MAX_WORK = 2_000_000_000
"""Most pixels times scans of a JPEG file, a second or so; encoders write some ten scans, a file may repeat them."""

MAX_FRAMES = 1_000
"""Most images in a TIFF file, which are counted one by one in a time that grows with their square."""

LARGE_IMAGE = 16_000_000
"""Pixels as they are decoded above which threads take turns, because such an image may need 20 bytes a pixel."""

TURN = RLock()
"""Held by the thread that decodes a large image."""

SHORTEST_SCAN = 10
"""Bytes of the header of a scan."""

FEWEST = 10_000
"""Pixels that a scan costs at least as much as."""

_MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])")
_SCAN, _END, _STANDALONE = 0xDA, 0xD9, (0x01, 0xD8)


def check_work(image: Image.Image) -> None:
    """Refuse an image that was opened and not yet decoded if that takes too long.

    Raises:
        ValueError: It does.
    """
    if image.format in ("JPEG", "MPO"):
        _check_scans(image)
    elif image.format == "TIFF":
        _check_frames(image)


def _check_frames(image: Image.Image) -> None:
    try:
        for frame in range(1, MAX_FRAMES + 1):  # one by one, or Pillow takes the one looked for as their number
            image.seek(frame)
    except EOFError:
        image.seek(0)
    else:
        raise ValueError(f"more than the {MAX_FRAMES:,} images allowed in a TIFF file")


def _check_scans(image: Image.Image) -> None:
    pixels, stream = max(image.width * image.height, FEWEST), image.fp  # type: ignore[attr-defined]
    place = stream.tell()
    size = stream.seek(0, 2)
    if size // SHORTEST_SCAN * pixels > MAX_WORK:
        stream.seek(0)
        scans = count_scans(stream.read())
        if scans * pixels > MAX_WORK:
            raise ValueError(f"{scans:,} scans of {image.width} x {image.height} pixels, which take too long to decode")
    stream.seek(place)


def count_scans(content: bytes) -> int:
    """Count the scans of the first image in a JPEG file; those in a preview in its header are none of them."""
    place = scans = 0
    while found := _MARKER.search(content, place):
        marker, place = found[1][0], found.end()
        if marker == _END:
            break
        scans += marker == _SCAN
        if marker not in _STANDALONE:
            place += int.from_bytes(content[place : place + 2], "big")
    return scans
