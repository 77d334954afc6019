"""Reads images from the cache's pixels, and from their files where it has none that are sound."""

import logging
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from emotion_lightning.data.images.decode import open_image

logger = logging.getLogger(__name__)

Pixels = npt.NDArray[np.uint8]


class CachedImages:
    """Reads the image at a position from a cache's pixels, or from its file where the cache has none that are sound.

    It can be sent to worker processes, which map the pixels themselves.
    """

    def __init__(
        self,
        paths: Sequence[Path | str],
        side: int,
        offsets: npt.NDArray[np.int64],
        shapes: npt.NDArray[np.int32],
        checksums: npt.NDArray[np.uint32],
        file: Path | None,
    ) -> None:
        self.paths, self.side, self._file = paths, side, file
        self._offsets, self._shapes, self._checksums = offsets, shapes, checksums
        self._pixels: Pixels | None = None
        self._damage_said = False

    def __call__(self, index: int) -> Image.Image:
        """Return the RGB image in the size in which it is kept, or to which it is decoded for ``side``.

        Raises:
            UnreadableImage: It had to be decoded, and cannot be.
        """
        offset, pixels = int(self._offsets[index]), self._mapped()
        if offset < 0 or pixels is None:
            return open_image(Path(self.paths[index]), self.side)
        height, width, channels = self._shapes[index].tolist()
        block = pixels[offset : offset + height * width * channels]
        if zlib.crc32(block.data) != self._checksums[index]:
            self._say_damage()
            return open_image(Path(self.paths[index]), self.side)
        return Image.frombytes("L" if channels == 1 else "RGB", (width, height), block).convert("RGB")

    def among(self, paths: Sequence[Path | str], positions: Sequence[int]) -> "CachedImages":
        """Return what reads the images at ``paths``, of which these are those at ``positions``, others from files."""

        def spread(values: npt.NDArray[Any], fill: int) -> npt.NDArray[Any]:
            every = np.full((len(paths), *values.shape[1:]), fill, values.dtype)
            every[list(positions)] = values
            return every

        facts = spread(self._offsets, -1), spread(self._shapes, 0), spread(self._checksums, 0)
        return CachedImages(paths, self.side, *facts, self._file)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the mapped pixels."""
        return self.__dict__ | {"_pixels": None}

    def _say_damage(self) -> None:
        if not self._damage_said:
            self._damage_said = True
            logger.warning(
                "Cache: pixels in %s are damaged; such images are decoded from their files. Remove it to have it made "
                "anew, and see to the disk",
                self._file,
            )

    def _mapped(self) -> Pixels | None:
        if self._pixels is None and self._file is not None:
            try:
                self._pixels = mapped(self._file)
            except (OSError, ValueError):  # another run has replaced or removed it
                self._file = None
        return self._pixels


def mapped(path: Path) -> Pixels:
    """The pixels in a file, read from the disk as they are used."""
    return np.memmap(path, np.uint8, "r") if path.stat().st_size else np.zeros(0, np.uint8)
