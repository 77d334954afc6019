import logging
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from emotion_lightning.data.audit import scan as scan_module
from emotion_lightning.data.audit.scan import scan
from emotion_lightning.data.images.cache import Cache
from emotion_lightning.data.images.cache_file import RECORD
from emotion_lightning.data.images.cache_folder import cache_folder
from emotion_lightning.data.images.cached import Cached
from emotion_lightning.data.images.decode import Files, decode, open_image, to_tensor
from emotion_lightning.errors import UsageError

LIMIT = 32


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """Images below, at and above the limit, in color and gray, upright and turned."""
    rng = np.random.default_rng(0)
    root = tmp_path / "faces"
    root.mkdir()
    for index, (height, width) in enumerate([(20, 20), (32, 32), (16, 64), (33, 32), (90, 50), (64, 100)]):
        color = rng.integers(0, 256, (height, width, 3), np.uint8)
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.fromarray(color).save(root / f"{index}.png", exif=exif if index == 4 else None)
        Image.fromarray(color[..., 0]).save(root / f"{index}_gray.jpg")
    return Files(tuple(sorted(root.iterdir())))


def cache(tmp_path: Path, limits: int | np.ndarray = LIMIT, gigabytes: float = 1.0) -> Cache:
    return Cache(tmp_path / "faces", limits, gigabytes, tmp_path / "cache")


def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that scans decode from now on."""
    names: list[str] = []
    real = scan_module.decode
    monkeypatch.setattr(scan_module, "decode", lambda path, side: (names.append(path.name), real(path, side))[1])
    return names


def assert_exact(read: Cached, files: Files, size: int = LIMIT) -> None:
    for index, path in enumerate(files.paths):
        assert torch.equal(to_tensor(read(index), size), to_tensor(open_image(path), size)), path.name


def without_files(read: Cached) -> Cached:
    """The same reader, that cannot decode."""
    read.paths = tuple(path.with_name("gone.png") for path in read.paths)
    return read


@pytest.mark.parametrize("gigabytes", [1.0, 0.0])
def test_reading_from_the_cache_is_decoding_to_the_bit(tmp_path: Path, files: Files, gigabytes: float) -> None:
    kept = cache(tmp_path, gigabytes=gigabytes)
    scan(files, kept, progress=False)
    read = without_files(kept.reader(files.paths))
    assert_exact(read, files)
    assert {read(index).mode for index in range(len(files.paths))} == {"RGB"}
    assert kept.file.exists() == (gigabytes > 0)


def test_small_images_keep_their_own_pixels_and_large_ones_are_squares(tmp_path: Path, files: Files) -> None:
    kept = cache(tmp_path)
    scan(files, kept, progress=False)
    read = without_files(kept.reader(files.paths))
    sizes = {path.name: read(index).size for index, path in enumerate(files.paths)}
    assert sizes["0.png"] == (20, 20)
    assert sizes["2.png"] == (64, 16)  # as many pixels as the square
    assert sizes["3.png"] == sizes["4.png"] == sizes["5_gray.jpg"] == (32, 32)


def test_gray_images_take_one_channel(tmp_path: Path) -> None:
    (tmp_path / "faces").mkdir()
    paths = (tmp_path / "faces" / "a.png", tmp_path / "faces" / "b.png")
    noise = np.random.default_rng(0).integers(0, 256, (30, 30), np.uint8)
    Image.fromarray(noise).convert("RGB").save(paths[0])
    Image.fromarray(noise).save(paths[1])
    kept = cache(tmp_path)
    scan(Files(paths), kept, progress=False)
    assert kept.file.stat().st_size < 2 * (30 * 30 + RECORD.itemsize) + 500


def test_nothing_is_decoded_twice(tmp_path: Path, files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    names = decoded(monkeypatch)
    first = scan(files, cache(tmp_path), progress=False)
    assert len(names) == len(files.paths)
    second = scan(files, cache(tmp_path), progress=False)
    assert len(names) == len(files.paths)
    for field in ("reasons", "digests", "modes", "formats"):
        assert getattr(first, field) == getattr(second, field)
    for field in ("widths", "heights", "frames", "thumbnails", "sizes"):
        assert np.array_equal(getattr(first, field), getattr(second, field))


def test_only_files_of_another_size_and_new_ones_are_decoded_again(
    tmp_path: Path, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan(files, cache(tmp_path), progress=False)
    names = decoded(monkeypatch)
    changed, fresh = files.paths[2], tmp_path / "faces" / "new.png"
    facts = changed.stat()
    data = Image.new("RGB", (20, 20), "red")
    data.save(changed, "PNG")
    os.utime(changed, ns=(0, facts.st_mtime_ns))
    assert changed.stat().st_size != facts.st_size
    data.save(fresh)
    more = Files((fresh, *files.paths))
    kept = cache(tmp_path)
    scan(more, kept, progress=False)
    assert sorted(names) == sorted(["new.png", changed.name])
    assert_exact(without_files(kept.reader(more.paths)), more)


def test_a_file_of_the_same_size_but_another_time_is_decoded_again(
    tmp_path: Path, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan(files, cache(tmp_path), progress=False)
    names = decoded(monkeypatch)
    os.utime(files.paths[3], ns=(0, files.paths[3].stat().st_mtime_ns + 1))
    scan(files, cache(tmp_path), progress=False)
    assert names == [files.paths[3].name]


def test_a_file_changed_since_the_scan_is_read_itself(tmp_path: Path, files: Files) -> None:
    kept = cache(tmp_path)
    scan(files, kept, progress=False)
    Image.new("RGB", (5, 5), "red").save(files.paths[0])
    assert kept.reader(files.paths)(0).getpixel((0, 0)) == (255, 0, 0)


def test_images_outside_this_scan_stay_until_their_files_go(
    tmp_path: Path, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two, three = (Files(files.paths[part]) for part in (slice(4), slice(4, 8), slice(8, 12)))
    scan(one, cache(tmp_path), progress=False)
    scan(two, cache(tmp_path), progress=False)
    names = decoded(monkeypatch)
    scan(Files(one.paths + two.paths), cache(tmp_path), progress=False)
    assert names == []
    size = cache(tmp_path).file.stat().st_size
    for path in one.paths + two.paths:
        path.unlink()
    scan(three, cache(tmp_path), progress=False)
    assert cache(tmp_path).file.stat().st_size < size


def test_another_limit_decodes_only_what_was_resized(
    tmp_path: Path, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan(files, cache(tmp_path), progress=False)
    names = decoded(monkeypatch)
    kept = cache(tmp_path, limits=40)
    scan(files, kept, progress=False)
    assert sorted({name[0] for name in names}) == ["3", "4", "5"]
    assert_exact(without_files(kept.reader(files.paths)), files, 40)


def test_every_image_has_a_limit_of_its_own_and_a_file_twice_the_larger(tmp_path: Path, files: Files) -> None:
    paths = (files.paths[10], files.paths[8], files.paths[10])
    limits = np.array([24, 48, 40], np.int32)
    kept = cache(tmp_path, limits)
    scan(Files(paths), kept, progress=False)
    read = kept.reader(paths)
    for index, limit in enumerate(limits.tolist()):
        assert torch.equal(to_tensor(read(index), limit), to_tensor(open_image(paths[index]), limit))


def photograph(path: Path) -> Path:
    """A JPEG file large enough to be decoded at a reduced size."""
    path.parent.mkdir(exist_ok=True)
    noise = np.random.default_rng(0).integers(0, 256, (25, 30, 3), np.uint8)
    Image.fromarray(noise).resize((1200, 1000), Image.Resampling.BICUBIC).save(path, quality=95)
    return path


def test_a_large_photograph_is_kept_as_decoding_it_for_its_side_gives_it(tmp_path: Path) -> None:
    path = photograph(tmp_path / "faces" / "large.jpg")
    assert {side: decode(path, side).image.size for side in (144, 112)} == {144: (600, 500), 112: (300, 250)}
    both = Cache(tmp_path / "faces", 144, 1.0, tmp_path / "cache", second=112)
    scan(Files((path,)), both, progress=False)
    for side in (144, 112):
        read = without_files(cache(tmp_path, side).reader([path]))
        assert read(0).size == (side, side)
        assert torch.equal(to_tensor(read(0), side), to_tensor(open_image(path, side), side))


def test_what_the_cache_lacks_is_decoded_at_the_size_that_it_would_have_been(tmp_path: Path) -> None:
    path = photograph(tmp_path / "faces" / "large.jpg")
    read = cache(tmp_path, 112).reader([path])
    assert torch.equal(to_tensor(read(0), 112), to_tensor(open_image(path, 112), 112))
    assert not torch.equal(to_tensor(read(0), 112), to_tensor(open_image(path), 112))


def test_unreadable_files_are_tried_again_and_never_kept(
    tmp_path: Path, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = files.paths[5]
    good = bad.read_bytes()
    facts = bad.stat()
    bad.write_bytes(b"x" * len(good))
    os.utime(bad, ns=(0, facts.st_mtime_ns))
    kept = cache(tmp_path)
    scanned = scan(files, kept, progress=False)
    assert [index for index, reason in enumerate(scanned.reasons) if reason] == [5]
    assert str(bad).encode() not in kept.file.read_bytes()
    names, before = decoded(monkeypatch), kept.file.stat().st_ino
    assert scan(files, cache(tmp_path), progress=False).reasons == scanned.reasons
    assert names == [bad.name]
    assert kept.file.stat().st_ino == before  # nothing new, nothing written
    bad.write_bytes(good)
    os.utime(bad, ns=(0, facts.st_mtime_ns))  # as a permission that was missing would leave size and time
    assert scan(files, cache(tmp_path), progress=False).reasons == (None,) * len(files.paths)
    assert_exact(without_files(cache(tmp_path).reader(files.paths)), files)


def truncate(data: bytes) -> bytes:
    return data[:-100]


def flip_a_record(data: bytes) -> bytes:
    return data[:-300] + bytes([data[-300] ^ 1]) + data[-299:]


def drop_a_pixel(data: bytes) -> bytes:
    return data[1:]


def other_contents(data: bytes) -> bytes:
    return b"something else entirely"


def empty(data: bytes) -> bytes:
    return b""


@pytest.mark.parametrize("damage", [truncate, flip_a_record, drop_a_pixel, other_contents, empty])
def test_a_damaged_cache_is_said_and_made_anew(
    tmp_path: Path, files: Files, damage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    kept = cache(tmp_path)
    expected = scan(files, kept, progress=False).digests
    sound = kept.file.read_bytes()
    kept.file.write_bytes(damage(sound))
    names = decoded(monkeypatch)
    assert_exact(kept.reader(files.paths), files)
    assert scan(files, cache(tmp_path), progress=False).digests == expected
    assert len(names) == len(files.paths)
    assert kept.file.read_bytes() == sound
    assert f"{kept.file} is not used, and made anew" in caplog.text


def test_what_a_killed_run_left_is_neither_used_nor_kept_for_ever(tmp_path: Path, files: Files) -> None:
    kept = cache(tmp_path)
    kept.file.parent.mkdir()
    old, young = (kept.file.with_name(f".{kept.file.name}.{pid}.tmp") for pid in (1, 2))
    for left in (old, young):
        left.write_bytes(b"half of the pixels")
    os.utime(old, (time.time() - 7200,) * 2)
    scan(files, kept, progress=False)
    assert not old.exists()
    assert young.exists()  # its run may be writing
    assert_exact(without_files(kept.reader(files.paths)), files)


SCAN = """
import os, signal, sys
from pathlib import Path
from emotion_lightning.data.audit import scan as module
from emotion_lightning.data.images.cache import Cache
from emotion_lightning.data.images.decode import Files
root = Path(sys.argv[1])
if len(sys.argv) > 2:  # dies at the sixth image
    real, seen = module.decode, []
    def decode(path, side):
        seen.append(path)
        if len(seen) == 6:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(path, side)
    module.decode = decode
paths = tuple(sorted((root / "faces").iterdir()))
cache = Cache(root / "faces", 32, 1.0, root / "cache")
print(*module.scan(Files(paths), cache, progress=False).digests)
"""


def start_scan(tmp_path: Path, *options: str) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", SCAN, str(tmp_path), *options], stdout=subprocess.PIPE, text=True)


def test_a_kill_in_the_middle_leaves_the_last_version(tmp_path: Path, files: Files) -> None:
    first = Files(files.paths[:4])
    scan(first, cache(tmp_path), progress=False)
    before = cache(tmp_path).file.read_bytes()
    assert start_scan(tmp_path, "killed").wait(60) == -signal.SIGKILL
    assert len(list((tmp_path / "cache").glob(".*.tmp"))) == 1
    assert cache(tmp_path).file.read_bytes() == before
    kept = cache(tmp_path)
    scan(files, kept, progress=False)
    assert_exact(without_files(kept.reader(files.paths)), files)


def test_runs_at_once_do_not_hurt_each_other(tmp_path: Path, files: Files) -> None:
    runs = [start_scan(tmp_path) for _ in range(2)]
    outputs = {run.communicate(timeout=60)[0].strip() for run in runs}
    assert outputs == {" ".join(scan(files, None, progress=False).digests)}
    assert_exact(without_files(cache(tmp_path).reader(files.paths)), files)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [cache(tmp_path).file.name]


def test_the_bound_leaves_records_and_as_many_images_as_fit(
    tmp_path: Path, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan(files, cache(tmp_path), progress=False)
    whole = cache(tmp_path).file.stat().st_size
    bound = (whole - 4000) / 1e9
    names = decoded(monkeypatch)
    for _ in range(2):  # a bound that became lower, and one that stays
        kept = cache(tmp_path, gigabytes=bound)
        assert scan(files, kept, progress=False).reasons == (None,) * len(files.paths)
        assert whole - 8000 < kept.file.stat().st_size <= whole - 4000
        assert_exact(kept.reader(files.paths), files)
    assert names == []
    scan(files, cache(tmp_path), progress=False)
    assert 0 < len(names) < 4  # there is room again
    assert_exact(without_files(cache(tmp_path).reader(files.paths)), files)


def test_the_data_sets_used_least_recently_make_room(tmp_path: Path, files: Files) -> None:
    def kept(name: str, gigabytes: float = 1.0) -> Cache:
        return Cache(tmp_path / name, LIMIT, gigabytes, tmp_path / "cache")

    foreign = tmp_path / "cache" / "decoded-notes.cache"
    for age, name in enumerate(("used", "oldest", "old")):
        scan(files, kept(name), progress=False)
        os.utime(kept(name).file, (age + 1, age + 1))
    foreign.write_text("not ours")
    scan(files, kept("used"), progress=False)
    size = kept("used").file.stat().st_size
    scan(files, kept("new", 3.5 * size / 1e9), progress=False)
    assert [kept(name).file.exists() for name in ("used", "oldest", "old", "new")] == [True, False, True, True]
    assert foreign.exists()


@pytest.mark.parametrize("gigabytes", [1.0, 0.0])
def test_a_folder_that_cannot_be_written_costs_only_a_line(
    tmp_path: Path, files: Files, gigabytes: float, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "cache").write_text("a file")
    kept = cache(tmp_path, gigabytes=gigabytes)
    scanned = scan(files, kept, progress=False)
    assert scanned.digests == scan(files, None, progress=False).digests
    assert_exact(without_files(kept.reader(files.paths)), files)  # from memory
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(said) == (gigabytes > 0)
    assert all("EMOTION_LIGHTNING_CACHE" in line and "\n" not in line for line in said)


def test_a_full_disk_costs_the_cache_but_no_record(
    tmp_path: Path, files: Files, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Full:
        def __init__(self) -> None:
            self.left = 4000

        def write(self, data: memoryview | bytes) -> None:
            self.left -= memoryview(data).nbytes
            if self.left < 0:
                raise OSError(28, "No space left on device")

    real = Cache._target

    def target(self: Cache, names: list[str]):
        with real(self, names) as (_, room):
            yield Full(), room

    monkeypatch.setattr(Cache, "_target", contextmanager(target))
    names = decoded(monkeypatch)
    scanned = scan(files, cache(tmp_path), progress=False)
    assert len(names) == len(files.paths)
    assert scanned.digests == scan(files, None, progress=False).digests
    assert scanned.widths.min() > 0
    assert "No space left on device" in caplog.text
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_reader_is_sent_without_its_pixels(tmp_path: Path) -> None:
    (tmp_path / "faces").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    path = tmp_path / "faces" / "a.png"
    Image.fromarray(noise).save(path)
    kept = cache(tmp_path, limits=300)
    scan(Files((path,)), kept, progress=False)
    read = kept.reader((path,))
    read(0)
    sent = pickle.dumps(without_files(read))
    assert len(sent) < 2000
    assert np.array_equal(np.asarray(pickle.loads(sent)(0)), noise)


def test_a_reader_notices_that_the_cache_was_replaced(tmp_path: Path, files: Files) -> None:
    kept = cache(tmp_path)
    scan(files, kept, progress=False)
    opened = without_files(kept.reader(files.paths))
    sent = pickle.dumps(kept.reader(files.paths))
    scan(files, cache(tmp_path, limits=40), progress=False)
    assert_exact(opened, files)  # what it has open is its own
    assert_exact(pickle.loads(sent), files)
    sent = pickle.dumps(kept.reader(files.paths))
    kept.file.write_bytes(kept.file.read_bytes()[1:])
    assert_exact(pickle.loads(sent), files)
    kept.file.unlink()
    assert_exact(pickle.loads(sent), files)


@pytest.mark.parametrize("small", [True, False])
def test_large_caches_are_mapped(tmp_path: Path, files: Files, small: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not small:
        monkeypatch.setattr("emotion_lightning.data.images.cache_file.SMALL", 100)
    kept = cache(tmp_path)
    scan(files, kept, progress=False)
    read = without_files(kept.reader(files.paths))
    assert_exact(read, files)
    assert isinstance(read._pixels.base, np.memmap) == (not small)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_read_the_cache(tmp_path: Path, files: Files, method: str) -> None:
    kept = cache(tmp_path)
    scan(files, kept, progress=False)
    read = without_files(kept.reader(files.paths))
    with multiprocessing.get_context(method).Pool(1) as pool:
        images = pool.map(read, range(len(files.paths)))
    for image, path in zip(images, files.paths, strict=True):
        assert torch.equal(to_tensor(image, LIMIT), to_tensor(open_image(path), LIMIT))


def test_where_caches_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("EMOTION_LIGHTNING_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder() == tmp_path / ".cache" / "emotion_lightning"
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert cache_folder() == Path("/x/emotion_lightning")
    monkeypatch.setenv("EMOTION_LIGHTNING_CACHE", "/here")
    assert cache_folder() == Path("/here")
    assert Cache(tmp_path, 1).file.parent == Path("/here")


@pytest.mark.parametrize("gigabytes", [-1, float("nan"), float("inf")])
def test_a_bound_that_is_no_size_is_refused(tmp_path: Path, gigabytes: float) -> None:
    with pytest.raises(UsageError, match=rf"--data\.cache_gb {gigabytes:g} is no size"):
        cache(tmp_path, gigabytes=gigabytes)
