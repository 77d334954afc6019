"""Safe decoding: every image a user names becomes RGB pixels, or an error that names the file and the reason."""

import hashlib
import os
import stat
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from PIL import ExifTags, Image, ImageOps, PngImagePlugin, UnidentifiedImageError
from torch import Tensor

from emotion_lightning.data.images.region import Region, split_region
from emotion_lightning.data.images.work import LARGE_IMAGE, TURN, check_work
from emotion_lightning.errors import DataError

ALLOWED_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF")
"""The decoders that may see a file; what its content says counts, not its suffix."""

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".dib", ".webp", ".tif", ".tiff"})
"""Suffixes, in lower case, of the files that folder layouts take for images."""

MAX_PIXELS = 64_000_000
"""Most pixels that an image may have (64 megapixels, 192 MB as RGB): a tiny file can claim to be enormous."""

MAX_BYTES = 100_000_000
"""Largest file that is opened, in bytes."""

LARGE = 1_000_000
"""Pixels above which a JPEG file is decoded at a reduced size where that suffices; fewer take milliseconds."""

ORIENTATION = int(ExifTags.Base.Orientation)

TURNED = (5, 6, 7, 8)
"""EXIF's orientations in which rows stand for columns."""

PngImagePlugin.MAX_TEXT_MEMORY = 4 * 2**20  # Pillow alone inflates 64 MB of comments before it gives up


class UnreadableImage(DataError):
    """A file that cannot be decoded; has its ``path`` and the ``reason``."""

    # The reason may be absent because PyTorch rebuilds an error of a DataLoader worker from its text alone.
    def __init__(self, path: Path | str, reason: str = "") -> None:
        super().__init__(path, reason)
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}" if self.reason else str(self.path)


Bounds = tuple[float, float, float, float]
"""Left, top, right and bottom of a part of an image in pixels."""


class Decoded(NamedTuple):
    """An image as every reader gets it, and what its file says of it.

    Attributes:
        image: Upright, RGB; where it was decoded at a reduced size, smaller than the file's.
        box: Part of ``image`` that the file's pixels take: left, top, right and bottom. At a reduced size the last row
            and column may stand for less than others do.
        width: Pixels of the whole upright image.
        height: Pixels of the whole upright image.
        mode: Pillow's name of the pixels in the file, such as "L" or "CMYK".
        format: Pillow's name of the file's format, such as "JPEG".
        frames: Number of frames; above 1 for an animation, of which ``image`` is the first.
    """

    image: Image.Image
    box: Bounds
    width: int
    height: int
    mode: str
    format: str
    frames: int

    @property
    def reducible(self) -> bool:
        """Whether the side that is wanted decides at which size the file is decoded."""
        return _reducible(self.format, self.width, self.height)

    def reduction(self, side: int) -> int:
        """What the file's sides are divided by when it is decoded for a square of ``side`` pixels: 1, 2, 4 or 8."""
        return _reduction(self.format, self.width, self.height, side)

    def part(self, region: Region) -> "Decoded":
        """Return the ``region`` of an image that was decoded at its full size."""
        image = self.image.crop(region.box(self.width, self.height))
        return self._replace(image=image, box=(0, 0, *image.size), width=image.width, height=image.height)

    def square(self, size: int) -> Image.Image:
        """Resize to ``size`` x ``size`` pixels as :func:`square` does."""
        return square(self.image, size, self.box)


def open_image(path: Path, side: int = 0) -> Image.Image:
    """Decode a file into an upright RGB image; of an animation the first frame.

    A JPEG file of more than ``LARGE`` pixels is decoded at the smallest size that the format offers whose sides are
    both at least twice ``side``, and comes as the square of that side. It differs little from what the whole image
    would have become, and depends on nothing but the file and ``side``. Any other image comes as it is.

    Args:
        path: The file, or a part of it as :mod:`.region` names it, for which the whole file is decoded.
        side: Side in pixels of the square that the image will be resized to; 0 decodes the whole image.

    Raises:
        UnreadableImage: The file is missing, damaged, truncated, of a format that is not allowed, larger than
            ``MAX_BYTES`` (checked before opening), or has more than ``MAX_PIXELS`` pixels or takes more work than
            :mod:`.work` allows (checked before decoding).
    """
    decoded = decode(path, side)
    return decoded.square(side) if decoded.reduction(side) > 1 else decoded.image


def decode(path: Path, side: int = 0, turn: ExitStack | None = None) -> Decoded:
    """Decode as :func:`open_image` does, but resize nothing, and keep what the file says of itself; raises the same.

    Threads take turns to decode large images; one that gives ``turn`` keeps its own until that is closed.
    """
    file, region = split_region(path)
    try:
        _check_file(file)
        with Image.open(file, formats=ALLOWED_FORMATS) as image, ExitStack() as own:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise UnreadableImage(path, f"{width} x {height} pixels, more than the {MAX_PIXELS:,} allowed")
            check_work(image)
            format = image.format or ""
            divisor = 1 if region else _reduction(format, width, height, side)
            if divisor > 1:
                image.draft(None, (width // divisor, height // divisor))
            if image.width * image.height > LARGE_IMAGE:
                (turn or own).enter_context(TURN)
            image.load()
            mode, frames = image.mode, int(getattr(image, "n_frames", 1))
            upright, orientation = _upright(image)
            box = _upright_box(orientation, image.size, (width / divisor, height / divisor))
            width, height = (height, width) if orientation in TURNED else (width, height)
            whole = Decoded(_to_rgb(upright), box, width, height, mode, format, frames)
            return whole if region is None else whole.part(region)
    except (UnreadableImage, MemoryError):
        raise
    except UnidentifiedImageError as error:
        raise UnreadableImage(
            path, f"not a {', '.join(ALLOWED_FORMATS[:-1])} or {ALLOWED_FORMATS[-1]} image"
        ) from error
    except Image.DecompressionBombError as error:  # Pillow refuses the largest by itself, by a limit of its own
        raise UnreadableImage(path, f"far more than the {MAX_PIXELS:,} pixels allowed") from error
    except (
        Exception
    ) as error:  # damaged files make decoders raise nearly anything: struct.error, SyntaxError, zlib.error
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UnreadableImage(path, reason or type(error).__name__) from error


def _check_file(path: Path) -> None:
    try:
        facts = os.stat(path)
    except FileNotFoundError:
        if not path.is_symlink():
            raise
        raise UnreadableImage(path, f"is a link to {os.readlink(path)}, where no file is") from None
    if stat.S_ISDIR(facts.st_mode):
        raise UnreadableImage(path, "is a folder, not an image")
    if not stat.S_ISREG(facts.st_mode):  # opening a pipe would wait for ever
        raise UnreadableImage(path, "not a regular file")
    if facts.st_size > MAX_BYTES:
        raise UnreadableImage(path, f"{facts.st_size:,} bytes, more than the {MAX_BYTES:,} allowed")


def _reducible(format: str, width: int, height: int) -> bool:
    return format in ("JPEG", "MPO") and width * height > LARGE


def _reduction(format: str, width: int, height: int, side: int) -> int:
    room = min(width, height) // (2 * side) if side and _reducible(format, width, height) else 1
    return next(divisor for divisor in (8, 4, 2, 1) if divisor <= max(room, 1))


def _upright(image: Image.Image) -> tuple[Image.Image, int]:
    """Return the upright image, and the orientation that the file says it has."""
    try:
        orientation = image.getexif().get(ORIENTATION, 1)
        return image if orientation == 1 else ImageOps.exif_transpose(image), orientation
    except Exception:  # damaged EXIF names no orientation, and the pixels, already decoded, are sound
        return image, 1


def _upright_box(orientation: int, size: tuple[int, int], extent: tuple[float, float]) -> Bounds:
    """Where the upper left ``extent`` of pixels of this ``size`` lies in the upright image."""
    (width, height), (across, down) = size, extent
    left = width - across if orientation in (2, 3, 7, 8) else 0.0
    top = height - down if orientation in (3, 4, 6, 7) else 0.0
    box = left, top, left + across, top + down
    return (box[1], box[0], box[3], box[2]) if orientation in TURNED else box


def upright_rgb(image: Image.Image) -> Image.Image:
    """Return an image that PIL has opened as :func:`decode` does a file: upright and in RGB.

    Raises:
        ValueError: Its pixels are fractions.
    """
    return _to_rgb(_upright(image)[0])


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":  # of any range, which nothing says
        raise ValueError("its pixels are fractions, whose range is unknown: save it with 8 bits")
    if image.mode.startswith("I"):  # 16-bit gray: Pillow would clip everything above 255 to white
        image = Image.fromarray((np.asarray(image).clip(0, 65535) >> 8).astype(np.uint8))
    elif image.has_transparency_data:  # what hides below transparent pixels is arbitrary: black instead
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    return image.convert("RGB")


def square(image: Image.Image, size: int, box: Bounds | None = None) -> Image.Image:
    """Resize straight to a square of ``size`` x ``size`` pixels with antialiased bilinear filtering.

    Args:
        image: Any image.
        size: Side of the square in pixels.
        box: Left, top, right and bottom of the part to take; by default all.
    """
    return image.resize((size, size), Image.Resampling.BILINEAR, box)


def to_tensor(image: Image.Image, size: int) -> Tensor:
    """Resize an RGB image straight to a square, whatever its proportions, with antialiased bilinear filtering.

    The pixels are exactly those of torchvision's ``Resize((size, size))`` on the same image.

    Args:
        image: RGB image of any size.
        size: Height and width of the result in pixels.

    Returns:
        ``uint8`` tensor of shape ``(3, size, size)``, values 0 to 255.
    """
    pixels = np.array(square(image, size))
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


@dataclass(frozen=True)
class Files:
    """Reads the image at a position from its file.

    Args:
        names: Paths of the files; kept as text, which is far faster than ``Path`` by the million.
        side: Side in pixels of the square that images will be resized to, as :func:`open_image` takes it.
    """

    names: Sequence[str]
    side: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(map(os.fspath, self.names)))

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files, made anew at each call."""
        return tuple(map(Path, self.names))

    def __call__(self, index: int) -> Image.Image:
        """Decode the image as RGB; raises as :func:`open_image` does."""
        return open_image(Path(self.names[index]), self.side)

    def digest(self, index: int) -> str:
        """SHA-256 of the file's bytes, and of what part of it the image is: the same for exact copies.

        Raises:
            UnreadableImage: The file cannot be read.
        """
        file, region = split_region(Path(self.names[index]))
        try:
            return hashlib.sha256(file.read_bytes() + (str(region).encode() if region else b"")).hexdigest()
        except OSError as error:
            raise UnreadableImage(self.names[index], error.strerror or str(error)) from error


@dataclass(frozen=True, eq=False)
class PixelRows:
    """Reads the image at a position from gray pixels of shape ``(N, height, width)``."""

    pixels: npt.NDArray[np.uint8]

    def __call__(self, index: int) -> Image.Image:
        """Return the image as RGB."""
        return Image.fromarray(self.pixels[index]).convert("RGB")

    def digest(self, index: int) -> str:
        """SHA-256 of the pixels: the same for exact copies."""
        return hashlib.sha256(self.pixels[index].tobytes()).hexdigest()
