"""Reading images from a cache, in any process."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from emotion_lightning.data.images.cache_file import Contents, Pixels, read_pixels
from emotion_lightning.data.images.decode import open_image


class Cached:
    """Reads the image at a position from a cache, or from its file where the cache lacks it.

    It can be sent to worker processes, which open the cache's file themselves.
    """

    def __init__(
        self,
        paths: tuple[Path, ...],
        limits: npt.NDArray[np.int32],
        offsets: npt.NDArray[np.int64],
        shapes: npt.NDArray[np.int64],
        contents: Contents,
        file: Path | None,
    ) -> None:
        self.paths, self._limits, self._offsets, self._shapes = paths, limits, offsets, shapes
        self._digest, self._file = contents.digest, file
        self._pixels: Pixels | None = contents.pixels

    def __call__(self, index: int) -> Image.Image:
        """Return the RGB image, in the size that it is kept in, or is decoded to for its limit.

        Raises:
            UnreadableImage: It had to be decoded, and cannot be.
        """
        offset, pixels = self._offsets[index], self._opened()
        if offset < 0 or pixels is None:
            return open_image(self.paths[index], int(self._limits[index]))
        height, width, channels = self._shapes[index].tolist()
        block = pixels[offset : offset + height * width * channels]
        image = Image.frombytes("L" if channels == 1 else "RGB", (width, height), block)
        return image.convert("RGB") if channels == 1 else image

    def __getstate__(self) -> dict[str, Any]:
        """Leave out pixels that a file holds."""
        return self.__dict__ | ({"_pixels": None} if self._file else {})

    def _opened(self) -> Pixels | None:
        if self._pixels is None and self._file is not None:
            try:
                with self._file.open("rb") as stream:
                    self._pixels = read_pixels(stream, self._digest)
            except (OSError, ValueError):  # another run replaced or removed it
                self._file = None
        return self._pixels
