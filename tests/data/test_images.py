import pickle
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import Resize
from torchvision.transforms.functional import pil_to_tensor

from emotion_lightning.data.images import Files, PixelRows, UnreadableImage, find_unreadable, open_image, to_tensor
from emotion_lightning.errors import DataError


def noise(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def huge_png(path: Path, side: int) -> Path:
    """A few bytes that claim to be ``side`` x ``side`` pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


@pytest.mark.parametrize("suffix", ["png", "bmp", "JPG", "webp", "jpeg"])
def test_every_allowed_format_opens_as_rgb(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"face.{suffix}"
    Image.new("RGB", (6, 4), (250, 10, 10)).save(file, quality=100)
    image = open_image(file)
    assert (image.mode, image.size) == ("RGB", (6, 4))
    assert np.abs(np.asarray(image).astype(int) - (250, 10, 10)).max() < 10


def test_grey_has_three_equal_channels(tmp_path: Path) -> None:
    grey = noise(5, 7, 1)[..., 0]
    Image.fromarray(grey).save(tmp_path / "grey.png")
    assert np.array_equal(np.asarray(open_image(tmp_path / "grey.png")), np.stack([grey] * 3, axis=-1))


def test_16_bit_grey_is_scaled_not_clipped(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 256, 32768, 65535]], dtype=np.uint16)).save(tmp_path / "deep.png")
    assert np.asarray(open_image(tmp_path / "deep.png"))[0, :, 0].tolist() == [0, 1, 128, 255]


def test_transparent_pixels_become_black(tmp_path: Path) -> None:
    pixels = np.array([[[200, 100, 50, 255], [200, 100, 50, 0]]], dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "alpha.png")
    assert np.asarray(open_image(tmp_path / "alpha.png")).tolist() == [[[200, 100, 50], [0, 0, 0]]]


def test_transparent_palette_colour_becomes_black(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([9, 8, 7, 200, 100, 50])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "palette.png", transparency=0)
    assert np.asarray(open_image(tmp_path / "palette.png")).tolist() == [[[0, 0, 0], [200, 100, 50]]]


def test_exif_orientation_is_honoured(tmp_path: Path) -> None:
    pixels = noise(4, 6)
    exif = Image.Exif()
    exif[0x0112] = 6  # shown rotated by 90 degrees clockwise
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    assert np.array_equal(np.asarray(open_image(tmp_path / "turned.png")), np.rot90(pixels, -1))


def test_damaged_exif_does_not_cost_a_sound_image(tmp_path: Path) -> None:
    Image.new("RGB", (6, 4)).save(tmp_path / "exif.jpg", exif=b"Exif\0\0garbage!")
    assert open_image(tmp_path / "exif.jpg").size == (6, 4)


def test_animation_gives_its_first_frame(tmp_path: Path) -> None:
    red, blue = Image.new("RGB", (4, 4), "red"), Image.new("RGB", (4, 4), "blue")
    red.save(tmp_path / "moving.webp", save_all=True, append_images=[blue], lossless=True)
    assert open_image(tmp_path / "moving.webp").getpixel((0, 0)) == (255, 0, 0)


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
        with pytest.raises(UnreadableImage, match=f"{name}: not a JPEG, PNG, BMP or WEBP image"):
            open_image(tmp_path / name)


def test_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImage, match=r"gone\.png: No such file"):
        open_image(tmp_path / "gone.png")


@pytest.mark.parametrize("side", [9_000, 60_000])
def test_huge_header_is_refused_before_decoding(tmp_path: Path, side: int) -> None:
    start = time.perf_counter()
    with pytest.raises(UnreadableImage, match=r"huge\.png: .*pixels"):
        open_image(huge_png(tmp_path / "huge.png", side))
    assert time.perf_counter() - start < 1


def test_find_unreadable_names_the_bad_files_in_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [tmp_path / f"{number:02}.png" for number in range(20)]
    for path in paths:
        Image.new("L", (4, 4)).save(path)
    for path in (paths[13], paths[2]):
        path.write_text("no image")
    assert list(find_unreadable(paths, progress=False).items()) == [
        (paths[2], "not a JPEG, PNG, BMP or WEBP image"),
        (paths[13], "not a JPEG, PNG, BMP or WEBP image"),
    ]
    assert capsys.readouterr() == ("", "")
    find_unreadable(paths, progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "Checking images" in err


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
    for path, colour in zip(paths, ("red", "red", "blue"), strict=True):
        Image.new("RGB", (2, 2), colour).save(path)
    files = pickle.loads(pickle.dumps(Files(paths)))
    assert files(2).getpixel((0, 0)) == (0, 0, 255)
    assert files.digest(0) == files.digest(1) != files.digest(2)

    pixels = noise(3, 48, 48)[:, :, :]
    rows = pickle.loads(pickle.dumps(PixelRows(np.stack([pixels[0], pixels[1]]))))
    assert rows(1).mode == "RGB"
    assert np.array_equal(np.asarray(rows(1))[..., 2], pixels[1])
    assert rows.digest(0) != rows.digest(1)
