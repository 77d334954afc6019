"""What is taken for a picture, and what is said of what is none."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from emotion_lightning.errors import DataError
from emotion_lightning.inference.pictures import as_picture, is_picture

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def pixels_of(x: Any) -> np.ndarray:
    picture = as_picture(x)
    assert picture.mode == "RGB"
    return np.asarray(picture)


def test_a_file_its_image_its_array_and_its_tensor_are_the_same_picture(tmp_path: Path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    file = tmp_path / "a.png"
    for given in (file, str(file), Image.open(file), PIXELS, torch.from_numpy(PIXELS).permute(2, 0, 1), PIXELS[::1]):
        assert np.array_equal(pixels_of(given), PIXELS)


def test_a_name_that_begins_with_a_tilde_is_a_file_and_else_a_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for name in ("~x.png", "a.png"):
        Image.fromarray(PIXELS).save(tmp_path / name)
    for given in ("~x.png", Path("~x.png"), "~/a.png", Path("~/a.png")):
        assert np.array_equal(pixels_of(given), PIXELS)
    with pytest.raises(DataError, match=r"~gone\.png: No such file"):
        as_picture("~gone.png")


def test_a_photograph_is_read_in_full(tmp_path: Path) -> None:
    large = Image.fromarray(PIXELS).resize((2000, 1500))
    large.save(tmp_path / "a.jpg")
    assert np.array_equal(pixels_of(tmp_path / "a.jpg"), pixels_of(Image.open(tmp_path / "a.jpg")))
    assert as_picture(tmp_path / "a.jpg").size == (2000, 1500)


def test_gray_pixels_become_three_equal_channels() -> None:
    gray = PIXELS[..., 0]
    for given in (gray, torch.from_numpy(gray)[None], Image.fromarray(gray)):
        assert np.array_equal(pixels_of(given), np.stack([gray] * 3, axis=2))


def test_a_picture_that_lies_on_its_side_is_turned(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(PIXELS).save(tmp_path / "a.png", exif=exif)
    upright = np.rot90(PIXELS, -1)
    assert np.array_equal(pixels_of(tmp_path / "a.png"), upright)
    assert np.array_equal(pixels_of(Image.open(tmp_path / "a.png")), upright)


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "CMYK", "I;16"])
def test_images_of_any_mode_are_those_of_their_files(tmp_path: Path, mode: str) -> None:
    image = (
        Image.fromarray(PIXELS).convert("L").convert(mode) if mode == "I;16" else Image.fromarray(PIXELS).convert(mode)
    )
    file = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    image.save(file)
    assert np.array_equal(pixels_of(image), pixels_of(file))


@pytest.mark.parametrize("kind", [np.uint16, np.int32])
def test_files_of_more_bits_are_read_as_ever(tmp_path: Path, kind: type) -> None:
    Image.fromarray(PIXELS[..., 0].astype(kind) * 256).save(tmp_path / "a.tif")
    for given in (tmp_path / "a.tif", Image.open(tmp_path / "a.tif")):
        assert np.array_equal(pixels_of(given), np.stack([PIXELS[..., 0]] * 3, axis=2))


def test_what_is_transparent_lies_on_black() -> None:
    clear = Image.new("RGBA", (2, 2), (200, 100, 50, 0))
    assert pixels_of(clear).max() == 0


def test_of_an_animation_the_first_frame_counts(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "blue")]
    frames[0].save(tmp_path / "a.webp", save_all=True, append_images=frames[1:], lossless=True)
    assert pixels_of(tmp_path / "a.webp")[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("given", [PIXELS[:1, :1], torch.zeros(3, 1, 1, dtype=torch.uint8), Image.new("L", (1, 1))])
def test_one_pixel_is_a_picture(given: Any) -> None:
    assert as_picture(given).size == (1, 1)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            PIXELS / 255,
            r"array float64 of shape \(5, 7, 3\): pixels are uint8, .*, as \(255 \* x\)\.round\(\)",
        ),
        (torch.rand(3, 5, 7), r"tensor float32 of shape \(3, 5, 7\): pixels are uint8"),
        (PIXELS.astype(np.uint16), "array uint16"),
        (PIXELS.transpose(2, 0, 1), r"array uint8 of shape \(3, 5, 7\): pixels have the shape \(H, W, 3\) or \(H, W\)"),
        (np.zeros((5, 7, 4), np.uint8), r"of shape \(5, 7, 4\)"),
        (np.zeros(5, np.uint8), r"of shape \(5,\)"),
        (
            torch.from_numpy(PIXELS),
            r"tensor uint8 of shape \(5, 7, 3\): .* shape \(3, H, W\) or \(1, H, W\)",
        ),
        (torch.zeros(5, 7, dtype=torch.uint8), r"\(3, H, W\) or \(1, H, W\)"),
        (np.zeros((0, 7, 3), np.uint8), "it has no pixels"),
        (np.zeros((0, 0), np.uint8), "it has no pixels"),
        (torch.zeros(3, 4, 0, dtype=torch.uint8), "it has no pixels"),
        (Image.new("RGB", (0, 3)), "no pixels: it is 0 x 3"),
        (Image.fromarray(PIXELS[..., 0].astype(np.int32)), "whole numbers of 32 bits, whose range is unknown"),
        (Image.new("F", (3, 3)), "cannot be decoded: its pixels are fractions"),
        ("http://example.org/a.jpg", "addresses are not fetched"),
        ("gone.jpg", "gone.jpg: No such file"),
        (b"abc", "a bytes is no picture"),
        (None, "a NoneType is no picture"),
    ],
)
def test_what_is_no_picture_is_said_in_a_line(given: Any, said: str) -> None:
    with pytest.raises(DataError, match=said) as refused:
        as_picture(given)
    assert "\n" not in str(refused.value)


def test_an_image_whose_file_is_truncated_is_refused_though_it_was_opened(tmp_path: Path) -> None:
    Image.fromarray(PIXELS).resize((200, 200)).save(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:900])
    with pytest.raises(DataError, match="cannot be decoded: image file is truncated"):
        as_picture(Image.open(tmp_path / "a.jpg"))


def test_one_picture_is_told_from_several() -> None:
    several = [[PIXELS], PIXELS[None], torch.zeros(1, 3, 4, 4), iter([PIXELS]), ("a.jpg",)]
    assert not any(map(is_picture, several))
    assert all(
        map(
            is_picture,
            ["a.jpg", Path("a.jpg"), PIXELS, PIXELS[..., 0], torch.zeros(3, 4, 4), b"", Image.new("L", (1, 1))],
        )
    )
