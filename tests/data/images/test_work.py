import io
import re
import struct
import threading
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from emotion_lightning.data.images import decode as decode_module
from emotion_lightning.data.images.decode import UnreadableImage, decode, open_image
from emotion_lightning.data.images.work import MAX_FRAMES, count_scans


def progressive(side: int, repeated: int = 0, **options: object) -> bytes:
    """A progressive JPEG file, whose last scan is repeated."""
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), "red").save(buffer, "JPEG", progressive=True, **options)
    content = buffer.getvalue()
    last = content.rindex(b"\xff\xda")
    return content[:-2] + content[last:-2] * repeated + content[-2:]


def with_preview(content: bytes) -> bytes:
    """The same file with a whole JPEG file, and what looks like a thousand scans, in its header and behind its end."""
    preview = progressive(16) + b"\xff\xda" * 1_000
    return content[:2] + b"\xff\xed" + struct.pack(">H", len(preview) + 2) + preview + content[2:] + preview


@pytest.mark.parametrize("more", [bytes, with_preview])
def test_scans_of_the_image_itself_are_counted(more: type[bytes]) -> None:
    assert count_scans(more(progressive(64))) == 10
    assert count_scans(more(progressive(64, repeated=500))) == 510
    assert count_scans(progressive(64)[:-40]) <= 10
    assert count_scans(b"") == count_scans(b"\xff\xda\xff") - 1 == 0


def test_a_jpeg_file_that_repeats_its_scans_is_refused_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bomb.jpg").write_bytes(progressive(2_000, repeated=600))
    (tmp_path / "photo.jpg").write_bytes(with_preview(progressive(2_000)))
    with pytest.raises(UnreadableImage, match=re.escape("610 scans of 2000 x 2000 pixels, which take too long")):
        open_image(tmp_path / "bomb.jpg", 64)
    assert open_image(tmp_path / "photo.jpg", 64).size == (64, 64)
    monkeypatch.setattr(Image.Image, "load", lambda image: pytest.fail("it was decoded"))
    with pytest.raises(UnreadableImage, match="take too long"):
        open_image(tmp_path / "bomb.jpg")


def many_frames(count: int) -> bytes:
    """A TIFF file of so many images of one pixel."""
    names = (256, 257, 258, 259, 262, 273, 277, 278, 279)
    values = (1, 1, 8, 1, 1, 8, 1, 1, 1)
    entries = b"".join(struct.pack("<HHII", *entry) for entry in zip(names, [4] * 9, [1] * 9, values, strict=True))
    size, frames = len(entries) + 6, list[bytes]()
    for frame in range(count):
        following = 12 + (frame + 1) * size if frame + 1 < count else 0
        frames.append(struct.pack("<H", 9) + entries + struct.pack("<I", following))
    return b"II*\0" + struct.pack("<I", 12) + b"\x80\0\0\0" + b"".join(frames)


def test_a_tiff_file_of_too_many_images_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    path.write_bytes(many_frames(MAX_FRAMES))
    decoded = decode(path)
    assert (decoded.frames, np.asarray(decoded.image).tolist()) == (MAX_FRAMES, [[[128] * 3]])
    path.write_bytes(many_frames(MAX_FRAMES + 1))
    with pytest.raises(UnreadableImage, match="more than the 1,000 images allowed"):
        decode(path)


def test_threads_take_turns_at_large_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode_module, "LARGE_IMAGE", 99)
    for name, side in (("small.png", 9), ("large.png", 10)):
        Image.new("L", (side, side)).save(tmp_path / name)
    with ExitStack() as turn:
        decode(tmp_path / "large.png", 0, turn)
        small, large = (threading.Thread(target=decode, args=(tmp_path / name,)) for name in ("small.png", "large.png"))
        small.start()
        large.start()
        small.join()
        large.join(0.2)
        assert large.is_alive()
    large.join()
