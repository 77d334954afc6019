import os
import pickle
import resource
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence
from torchvision.transforms import Resize
from torchvision.transforms.functional import pil_to_tensor

from emotion_lightning.data.images.decode import (
    MAX_BYTES,
    Files,
    PixelRows,
    UnreadableImage,
    decode,
    open_image,
    to_tensor,
)
from emotion_lightning.errors import DataError


def noise(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(side: int, *extra: bytes, data: bytes = zlib.compress(b"\0" * 1000), bits: int = 8, colors: int = 2) -> bytes:
    """A PNG that claims to be ``side`` x ``side`` pixels, RGB unless told, with ``extra`` chunks."""
    header = struct.pack(">IIBBBBB", side, side, bits, colors, 0, 0, 0)
    chunks = chunk(b"IHDR", header), *extra, chunk(b"IDAT", data), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def zeros(megabytes: int) -> bytes:
    """Zeros, deflated to a thousandth."""
    packer = zlib.compressobj(1)
    return b"".join(packer.compress(bytes(2**20)) for _ in range(megabytes)) + packer.flush()


def huge_bmp() -> bytes:
    header = struct.pack("<IiiHHIIiiII", 40, 30_000, 30_000, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 64, 0, 0, 54) + header + bytes(10)


def huge_webp() -> bytes:
    canvas = (16_383 - 1).to_bytes(3, "little") * 2
    body = b"WEBPVP8X" + struct.pack("<I", 10) + bytes([2, 0, 0, 0]) + canvas + b"ANIM" + struct.pack("<IIH", 6, 0, 0)
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize("suffix", ["png", "bmp", "JPG", "webp", "jpeg"])
def test_every_allowed_format_opens_as_rgb(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"face.{suffix}"
    Image.new("RGB", (6, 4), (250, 10, 10)).save(file, quality=100)
    image = open_image(file)
    assert (image.mode, image.size) == ("RGB", (6, 4))
    assert np.abs(np.asarray(image).astype(int) - (250, 10, 10)).max() < 10


def test_gray_has_three_equal_channels(tmp_path: Path) -> None:
    gray = noise(5, 7, 1)[..., 0]
    Image.fromarray(gray).save(tmp_path / "gray.png")
    assert np.array_equal(np.asarray(open_image(tmp_path / "gray.png")), np.stack([gray] * 3, axis=-1))


def test_16_bit_gray_is_scaled_not_clipped(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 256, 32768, 65535]], dtype=np.uint16)).save(tmp_path / "deep.png")
    assert np.asarray(open_image(tmp_path / "deep.png"))[0, :, 0].tolist() == [0, 1, 128, 255]


def test_transparent_pixels_become_black(tmp_path: Path) -> None:
    pixels = np.array([[[200, 100, 50, 255], [200, 100, 50, 0]]], dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "alpha.png")
    assert np.asarray(open_image(tmp_path / "alpha.png")).tolist() == [[[200, 100, 50], [0, 0, 0]]]


def test_transparent_palette_color_becomes_black(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([9, 8, 7, 200, 100, 50])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "palette.png", transparency=0)
    assert np.asarray(open_image(tmp_path / "palette.png")).tolist() == [[[0, 0, 0], [200, 100, 50]]]


def test_palette_with_a_transparency_for_each_color(tmp_path: Path) -> None:
    image = Image.new("P", (3, 1))
    image.putpalette([200, 100, 50] * 3)
    image.putdata([0, 1, 2])
    image.save(tmp_path / "palette.png", transparency=bytes([0, 255, 51]))
    assert np.asarray(open_image(tmp_path / "palette.png")).tolist() == [[[0, 0, 0], [200, 100, 50], [40, 20, 10]]]


def test_gray_with_transparency_becomes_black_where_it_is_clear(tmp_path: Path) -> None:
    Image.fromarray(np.array([[[200, 255], [200, 0]]], np.uint8), "LA").save(tmp_path / "la.png")
    assert np.asarray(open_image(tmp_path / "la.png")).tolist() == [[[200] * 3, [0] * 3]]


def test_16_bit_color_is_scaled_not_clipped(tmp_path: Path) -> None:
    row = struct.pack(">3H", 256, 32768, 65535)
    (tmp_path / "deep.png").write_bytes(png(1, data=zlib.compress(b"\0" + row), bits=16))
    assert open_image(tmp_path / "deep.png").getpixel((0, 0)) == (1, 128, 255)


def test_black_and_white_is_black_and_white(tmp_path: Path) -> None:
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "bits.png")
    assert np.asarray(open_image(tmp_path / "bits.png"))[0, :, 0].tolist() == [255, 0]


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "print.jpg", quality=100)
    image = open_image(tmp_path / "print.jpg")
    assert image.mode == "RGB"
    assert np.abs(np.array(image.getpixel((8, 8))) - (255, 0, 0)).max() < 5


def test_exif_orientation_is_honored(tmp_path: Path) -> None:
    pixels = noise(4, 6)
    exif = Image.Exif()
    exif[0x0112] = 6  # shown rotated by 90 degrees clockwise
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    assert np.array_equal(np.asarray(open_image(tmp_path / "turned.png")), np.rot90(pixels, -1))


def test_damaged_exif_does_not_cost_a_sound_image(tmp_path: Path) -> None:
    Image.new("RGB", (6, 4)).save(tmp_path / "exif.jpg", exif=b"Exif\0\0garbage!")
    assert open_image(tmp_path / "exif.jpg").size == (6, 4)


@pytest.mark.parametrize("suffix", ["webp", "png"])
def test_animation_gives_its_first_frame_without_decoding_others(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"moving.{suffix}"
    red, other = Image.new("RGB", (64, 64), "red"), Image.fromarray(noise(64, 64))
    red.save(file, save_all=True, append_images=[other], lossless=True)
    data = bytearray(file.read_bytes())
    second = data.rindex(b"ANMF" if suffix == "webp" else b"fdAT")
    data[second + 40 : second + 2000] = bytes(1960)
    file.write_bytes(data)
    with Image.open(file) as image, pytest.raises(OSError, match=r"frame|stream"):
        np.asarray(list(ImageSequence.Iterator(image))[1])
    found = decode(file)
    assert found.image.getpixel((0, 0)) == (255, 0, 0)
    assert (found.mode, found.format, found.frames) == ("RGB", suffix.upper(), 2)


def test_truncated_jpeg_is_refused_with_path_and_reason(tmp_path: Path) -> None:
    file = tmp_path / "cut.jpg"
    Image.fromarray(noise(64, 64)).save(file)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(UnreadableImage, match=r"cut\.jpg: .*truncated") as caught:
        open_image(file)
    assert caught.value.path == file
    assert "truncated" in caught.value.reason


def test_content_counts_not_the_suffix(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("not a picture")
    Image.new("RGB", (4, 4)).save(tmp_path / "a.gif")
    (tmp_path / "a.gif").rename(tmp_path / "gif.jpg")
    (tmp_path / "empty.png").touch()
    for name in ("text.jpg", "gif.jpg", "empty.png"):
        with pytest.raises(UnreadableImage, match=f"{name}: not a JPEG, PNG, BMP, WEBP or TIFF image"):
            open_image(tmp_path / name)


def test_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImage, match=r"gone\.png: No such file"):
        open_image(tmp_path / "gone.png")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        pytest.param(png(9_000), "9000 x 9000 pixels, more than the 64,000,000 allowed", id="large"),
        pytest.param(png(60_000), "more than the 64,000,000 pixels allowed", id="huge"),
        pytest.param(png(30_000, data=zeros(859), colors=0), "more than the 64,000,000 pixels allowed", id="bomb"),
        pytest.param(huge_bmp(), "more than the 64,000,000 pixels allowed", id="bmp"),
        # the second reason is that of Pillow before 13
        pytest.param(huge_webp(), "(more than the 64,000,000 pixels allowed|could not create decoder)", id="webp"),
        pytest.param(png(4, chunk(b"zTXt", b"a\0\0" + zeros(200))), "too large", id="text"),
        pytest.param(png(4, chunk(b"iTXt", b"a\0\1\0\0\0" + zeros(200))), "too large", id="unicode text"),
        pytest.param(png(4, chunk(b"iCCP", b"a\0\0" + zeros(200))), "too large", id="color profile"),
        pytest.param(
            png(4, *[chunk(b"zTXt", b"%d\0\0" % n + zlib.compress(bytes(10**6))) for n in range(80)]),
            "Too much memory",
            id="many texts",
        ),
    ],
)
def test_a_bomb_is_refused_at_once_and_without_memory(tmp_path: Path, data: bytes, reason: str) -> None:
    file = tmp_path / "bomb.jpg"
    file.write_bytes(data)
    Image.new("L", (4, 4)).save(tmp_path / "small.png")
    open_image(tmp_path / "small.png")  # loads the decoders
    forget_peak()
    before, start = peak_memory(), time.process_time()  # a busy machine must not fail it
    with pytest.raises(UnreadableImage, match=f"bomb.jpg: .*{reason}"):
        open_image(file)
    assert time.process_time() - start < 0.1
    assert peak_memory() - before < 50e6


def forget_peak() -> None:
    """Let the peak of this process begin anew, or what earlier tests took would hide a bomb."""
    switch = Path("/proc/self/clear_refs")
    if switch.exists():
        switch.write_text("5")


def peak_memory() -> float:
    """Bytes; counts what decoders take, not only Python objects."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def test_a_file_too_large_is_not_opened(tmp_path: Path) -> None:
    Image.new("L", (4, 4)).save(tmp_path / "large.png")
    os.truncate(tmp_path / "large.png", MAX_BYTES)
    assert open_image(tmp_path / "large.png").size == (4, 4)
    os.truncate(tmp_path / "large.png", MAX_BYTES + 1)
    with pytest.raises(UnreadableImage, match=r"large.png: 100,000,001 bytes, more than the 100,000,000 allowed"):
        open_image(tmp_path / "large.png")


def test_a_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(UnreadableImage, match=r"pipe.png: not a regular file"):
        open_image(tmp_path / "pipe.png")


def photograph(path: Path, width: int, height: int, **options: object) -> Path:
    """A picture with smooth shapes and texture."""
    rng = np.random.default_rng(1)
    layers = [rng.normal(0, strength, (max(1, height // step), max(1, width // step), 3)) for step, strength in LAYERS]
    grown = [np.stack([_grow(layer[..., channel], width, height) for channel in range(3)], axis=-1) for layer in layers]
    Image.fromarray((128 + sum(grown)).clip(0, 255).astype(np.uint8)).save(path, **{"quality": 90} | options)
    return path


LAYERS = ((200, 40), (40, 20), (8, 10), (2, 5))
"""Sides of details in pixels, and how strong they are in gray levels."""


def _grow(layer: np.ndarray, width: int, height: int) -> np.ndarray:
    return np.asarray(Image.fromarray(layer.astype(np.float32)).resize((width, height), Image.Resampling.BICUBIC))


@pytest.mark.parametrize(
    ("width", "height", "side", "divisor"),
    [
        (1600, 1200, 75, 8),
        (1600, 1200, 76, 4),
        (1200, 1600, 150, 4),
        (1601, 1203, 150, 4),
        (1600, 1200, 300, 2),
        (1600, 1200, 301, 1),
        (1600, 1200, 0, 1),
        (1000, 1000, 32, 1),  # no more than a megapixel
        (1001, 1000, 32, 8),
        (8000, 200, 24, 4),
    ],
)
def test_a_large_jpeg_is_decoded_no_smaller_than_twice_the_side(
    tmp_path: Path, width: int, height: int, side: int, divisor: int
) -> None:
    path = tmp_path / "large.jpg"
    Image.new("RGB", (width, height), "red").save(path)
    found = decode(path, side)
    assert found.image.size == (-(-width // divisor), -(-height // divisor))
    assert divisor == 1 or min(found.image.size) >= 2 * side
    assert (found.width, found.height) == (width, height)
    assert found.reduction(side) == divisor
    assert found.reducible == (width * height > 1_000_000)
    comes = (width, height) if divisor == 1 else (side, side)
    assert Files((path,), side)(0).size == open_image(path, side).size == comes


@pytest.mark.parametrize("suffix", ["png", "bmp", "webp"])
def test_other_formats_are_decoded_whole(tmp_path: Path, suffix: str) -> None:
    Image.new("RGB", (1300, 1000), "red").save(tmp_path / f"large.{suffix}")
    found = decode(tmp_path / f"large.{suffix}", 32)
    assert (found.image.size, found.reducible) == ((1300, 1000), False)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"quality": 50}], ids=str)
def test_a_reduced_photograph_looks_like_the_whole_one(tmp_path: Path, options: dict[str, object]) -> None:
    path = photograph(tmp_path / "large.jpg", 1500, 1100, **options)
    for side in (68, 130, 275):  # by 8, 4 and 2
        reduced, whole = (to_tensor(image, side).int() for image in (open_image(path, side), open_image(path)))
        gap = (reduced - whole).abs()
        assert gap.float().mean() < 0.6
        assert gap.max() <= 8


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_gray_and_cmyk_photographs_are_reduced_too(tmp_path: Path, mode: str) -> None:
    photograph(tmp_path / "rgb.png", 1500, 1100)
    Image.open(tmp_path / "rgb.png").convert(mode).save(tmp_path / "large.jpg", quality=95)
    found = decode(tmp_path / "large.jpg", 100)
    assert (found.image.size, found.image.mode, found.mode) == ((375, 275), "RGB", mode)
    gap = to_tensor(found.square(100), 100).int() - to_tensor(open_image(tmp_path / "large.jpg"), 100).int()
    assert gap.abs().max() <= 8


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_reduced_photograph_is_upright(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = photograph(tmp_path / "turned.jpg", 1203, 1001, exif=exif)
    found, whole = decode(path, 60), decode(path)
    assert found.image.size == ((126, 151) if orientation > 4 else (151, 126))
    assert (found.width, found.height) == whole.image.size == (whole.width, whole.height)
    assert (to_tensor(found.square(60), 60).int() - to_tensor(whole.image, 60).int()).abs().max() <= 8


@pytest.mark.parametrize("share", [0.3, 0.9, 0.995])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_truncated_photograph_is_unreadable_at_any_size(tmp_path: Path, share: float, progressive: bool) -> None:
    path = photograph(tmp_path / "cut.jpg", 1500, 1100, progressive=progressive)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    for side in (0, 32, 100, 250):
        with pytest.raises(UnreadableImage, match=r"cut\.jpg: .*truncated"):
            open_image(path, side)


@pytest.mark.parametrize(("height", "width", "size"), [(48, 48, 224), (300, 170, 64), (33, 90, 48), (64, 64, 64)])
def test_tensor_equals_torchvisions_resize(height: int, width: int, size: int) -> None:
    image = Image.fromarray(noise(height, width))
    tensor = to_tensor(image, size)
    assert (tensor.dtype, tuple(tensor.shape)) == (torch.uint8, (3, size, size))
    assert torch.equal(tensor, pil_to_tensor(Resize((size, size))(image)))


def test_error_survives_the_way_back_from_a_worker(tmp_path: Path) -> None:
    error = UnreadableImage(tmp_path / "x.png", "truncated")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    loader = torch.utils.data.DataLoader([tmp_path / "x.png"], num_workers=1, collate_fn=_open_first)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"x\.png: No such file"):
        next(iter(loader))


def _open_first(paths: list[Path]) -> Image.Image:
    return open_image(paths[0])


def test_sources_read_and_identify_content(tmp_path: Path) -> None:
    paths = (tmp_path / "a.png", tmp_path / "b.png", tmp_path / "c.png")
    for path, color in zip(paths, ("red", "red", "blue"), strict=True):
        Image.new("RGB", (2, 2), color).save(path)
    files = pickle.loads(pickle.dumps(Files(paths)))
    assert files(2).getpixel((0, 0)) == (0, 0, 255)
    assert files.digest(0) == files.digest(1) != files.digest(2)

    pixels = noise(3, 48, 48)[:, :, :]
    rows = pickle.loads(pickle.dumps(PixelRows(np.stack([pixels[0], pixels[1]]))))
    assert rows(1).mode == "RGB"
    assert np.array_equal(np.asarray(rows(1))[..., 2], pixels[1])
    assert rows.digest(0) != rows.digest(1)


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate"])
def test_tiff_is_read_upright_deep_and_of_several_pages(tmp_path: Path, compression: str | None) -> None:
    pixels, exif = noise(4, 6), Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "turned.tif", exif=exif, compression=compression)
    decoded = decode(tmp_path / "turned.tif")
    assert np.array_equal(np.asarray(decoded.image), np.rot90(pixels, -1))
    assert (decoded.width, decoded.height) == (4, 6)
    deep = Image.fromarray(np.array([[0, 256, 32768, 65535]], dtype=np.uint16))
    deep.save(tmp_path / "deep.tif", compression=compression)
    assert np.asarray(open_image(tmp_path / "deep.tif"))[0, :, 0].tolist() == [0, 1, 128, 255]
    pages = [Image.new("L", (3, 2), gray) for gray in (7, 8, 9)]
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    decoded = decode(tmp_path / "pages.tif")
    assert (decoded.frames, decoded.image.getpixel((0, 0))) == (3, (7, 7, 7))


def test_tiff_of_fractions_is_refused(tmp_path: Path) -> None:
    Image.fromarray(np.ones((2, 2), np.float32)).save(tmp_path / "f.tif")
    with pytest.raises(UnreadableImage, match=r"f\.tif: its pixels are fractions, .*: save it with 8 bits"):
        open_image(tmp_path / "f.tif")
