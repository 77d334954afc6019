import hashlib
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from emotion_lightning.data.audit import scan as scan_module
from emotion_lightning.data.audit.scan import look, scan
from emotion_lightning.data.images.cache import Cache
from emotion_lightning.data.images.decode import Files, PixelRows, open_image
from emotion_lightning.data.images.thumbnail import thumbnail
from tests.helpers import on_a_terminal


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8)


def test_identical_pixels_have_one_digest_whatever_the_encoding(tmp_path: Path) -> None:
    gray = noise(8, 6)
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned clockwise
    Image.fromarray(gray).save(tmp_path / "a.png")
    Image.fromarray(gray).convert("RGB").save(tmp_path / "b.bmp")
    Image.fromarray(gray).convert("RGB").save(tmp_path / "c.webp", lossless=True)
    Image.fromarray(np.ascontiguousarray(np.rot90(gray))).save(tmp_path / "d.png", exif=exif)
    Image.fromarray(gray.reshape(6, 8)).save(tmp_path / "e.png")  # the same bytes in another shape
    Image.fromarray(gray ^ 1).save(tmp_path / "f.png")
    found = scan(Files(tuple(sorted(tmp_path.iterdir()))), None, progress=False)
    assert len(set(found.digests[:4])) == 1
    assert len(set(found.digests)) == 3
    rows = scan(PixelRows(gray[None]), None, progress=False)
    assert rows.digests == found.digests[:1]


def test_every_image_is_described(tmp_path: Path) -> None:
    Image.new("CMYK", (6, 4)).save(tmp_path / "a.jpg")
    Image.new("P", (5, 5)).save(tmp_path / "b.png")
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "blue", "lime")]
    frames[0].save(tmp_path / "c.webp", save_all=True, append_images=frames[1:], lossless=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(noise(9, 3)).save(tmp_path / "d.png", exif=exif)
    paths = tuple(sorted(tmp_path.iterdir()))
    found, thumbnails, _ = look(Files(paths), None, progress=False)
    assert found.reasons == (None,) * 4
    assert found.modes == ("CMYK", "P", "RGB", "L")
    assert found.formats == ("JPEG", "PNG", "WEBP", "PNG")
    assert found.frames.tolist() == [1, 1, 3, 1]
    assert found.widths.tolist() == [6, 5, 4, 9]
    assert found.heights.tolist() == [4, 5, 4, 3]
    assert found.sizes.tolist() == [path.stat().st_size for path in paths]
    for index, path in enumerate(paths):
        assert np.array_equal(thumbnails()[index], thumbnail(open_image(path)))


def test_a_photograph_decoded_at_a_reduced_size_is_described_as_it_is(tmp_path: Path) -> None:
    path, exif = tmp_path / "large.jpg", Image.Exif()
    exif[0x0112] = 8
    blobs = Image.fromarray(noise(10, 12)).resize((1201, 999), Image.Resampling.BICUBIC)
    blobs.save(path, quality=90, exif=exif)
    paths = (path, Path(shutil.copy(path, tmp_path / "copy.jpg")))
    scans = [look(Files(paths), None, progress=False)]
    for limit in (40, 200, 600):
        cache = Cache(tmp_path, limit, folder=tmp_path / f"cache {limit}")
        scans.append(look(Files(paths), cache, progress=False))
    whole = thumbnail(open_image(path)).astype(int)
    for found, thumbnails, _ in scans:
        assert (found.widths.tolist(), found.heights.tolist()) == ([999, 999], [1201, 1201])
        assert set(found.digests) == {hashlib.sha256(path.read_bytes()).hexdigest()}
        assert np.abs(thumbnails()[0] - whole).max() <= 2


def test_unreadable_files_have_a_reason_and_the_digest_of_their_bytes(tmp_path: Path) -> None:
    paths = tuple(tmp_path / name for name in ("a.png", "b.png", "c.png", "gone.png", "gone2.png", "pipe.png"))
    paths[0].write_bytes(b"no image")
    Image.new("RGB", (4, 4)).save(paths[1])
    paths[2].write_bytes(b"no image")
    os.mkfifo(paths[5])
    found = scan(Files(paths), None, progress=False)
    assert [bool(reason) for reason in found.reasons] == [True, False, True, True, True, True]
    assert found.reasons[0] == "not a JPEG, PNG, BMP, WEBP or TIFF image"
    assert found.reasons[5] == "not a regular file"
    assert found.digests[0] == found.digests[2] == hashlib.sha256(b"no image").hexdigest()
    assert len(set(found.digests)) == 5  # files that are not there are not copies of one another
    assert (found.widths == 0).tolist() == [True, False, True, True, True, True]
    assert found.modes[0] == found.formats[0] == ""
    assert found.sizes[3] == 0


def test_a_file_named_twice_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = tuple(tmp_path / f"{index}.png" for index in (0, 1, 0))
    for index in (0, 1):
        Image.fromarray(noise(4, 4, index)).save(paths[index])
    seen = []
    real = scan_module.decode
    monkeypatch.setattr(scan_module, "decode", lambda path, *more: (seen.append(path), real(path, *more))[1])
    found = scan(Files(paths), None, progress=False)
    assert len(seen) == 2
    assert found.digests[0] == found.digests[2] != found.digests[1]


def test_large_files_are_decoded_by_threads_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan_module, "SMALL_FILE", 0)
    monkeypatch.setattr(scan_module, "CHUNK", 3)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    paths = tuple(tmp_path / f"{index:02}.png" for index in range(50))
    for index, path in enumerate(paths):
        Image.fromarray(noise(4, 4 + index, index)).save(path)
    paths[20].write_bytes(b"no image")
    real, threads = scan_module.decode, set()
    monkeypatch.setattr(
        scan_module, "decode", lambda path, *more: (threads.add(threading.get_ident()), real(path, *more))[1]
    )
    found = scan(Files(paths), None, progress=False)
    assert threading.get_ident() not in threads
    assert [index for index, reason in enumerate(found.reasons) if reason] == [20]
    assert np.delete(found.widths, 20).tolist() == [4 + index for index in range(50) if index != 20]


def test_threads_do_not_run_ahead_of_what_is_taken() -> None:
    started: list[int] = []
    results = scan_module._in_threads(lambda item: (started.append(item), item)[1], range(10_000), 2)
    assert next(results) == 0
    assert len(started) <= 6 * scan_module.CHUNK
    results.close()


def test_progress_goes_to_stderr_and_only_where_there_is_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("L", (4, 4)).save(tmp_path / "a.png")
    files = Files((tmp_path / "a.png",))
    scan(files, None)
    assert capsys.readouterr() == ("", "")  # no terminal
    terminal = on_a_terminal(monkeypatch)
    scan(files, None)
    shown = terminal.getvalue()
    assert "Checking images" in shown
    scan(files, None, progress=False)
    scan(Files(()), None)
    assert terminal.getvalue() == shown
    assert capsys.readouterr().out == ""


def test_a_closed_stderr_is_no_fault_of_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(*args: object, **options: object) -> Iterator[object]:
        raise BrokenPipeError("closed")
        yield

    monkeypatch.setattr(scan_module, "tqdm", closed)
    Image.new("L", (4, 4)).save(tmp_path / "a.png")
    with pytest.raises(RuntimeError, match="progress cannot be shown: closed"):
        scan(Files((tmp_path / "a.png",)), Cache(tmp_path, 8, folder=tmp_path / "cache"))


def test_rows_of_pixels_are_images(tmp_path: Path) -> None:
    rows = np.stack([noise(48, 48, seed) for seed in (0, 1, 0)])
    found, thumbnails, _ = look(PixelRows(rows), None, progress=False)
    assert found.reasons == (None,) * 3
    assert found.digests[0] == found.digests[2] != found.digests[1]
    assert found.widths.tolist() == found.heights.tolist() == [48] * 3
    assert found.modes == ("L",) * 3
    assert found.formats == ("",) * 3
    assert found.frames.tolist() == [1] * 3
    assert np.array_equal(thumbnails()[1], thumbnail(Image.fromarray(rows[1])))
    assert look(PixelRows(rows[:0]), None, progress=False).thumbnails().shape[0] == 0
