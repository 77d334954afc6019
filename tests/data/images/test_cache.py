import logging
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from emotion_lightning.data.audit import scan as scan_module
from emotion_lightning.data.audit.scan import look, scan
from emotion_lightning.data.images import cache as cache_module
from emotion_lightning.data.images.cache import RECORD, Cache, cache_folder
from emotion_lightning.data.images.cached import CachedImages
from emotion_lightning.data.images.decode import Files, decode, open_image, to_tensor
from emotion_lightning.data.images.thumbnail import THUMBNAIL
from emotion_lightning.errors import UsageError

SIDE = 32


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """Images below, at and above the side, in color and gray, upright and turned."""
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


def cache(tmp_path: Path, budget_gb: float = 1.0, side: int = SIDE) -> Cache:
    return Cache(tmp_path / "faces", side, budget_gb, tmp_path / "cache")


def watch_decoding(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that scans decode from now on."""
    names: list[str] = []
    real = scan_module.decode
    monkeypatch.setattr(scan_module, "decode", lambda path, *more: (names.append(path.name), real(path, *more))[1])
    return names


def filled(tmp_path: Path, files: Files, **options: float) -> Cache:
    made = cache(tmp_path, **options)
    scan(files, made, progress=False)
    return made


def without_files(read: CachedImages) -> CachedImages:
    """The same reader, which cannot decode."""
    read.paths = tuple(path.with_name("gone.png") for path in read.paths)
    return read


def assert_exact(read: CachedImages, files: Files, side: int = SIDE) -> None:
    for index, path in enumerate(files.paths):
        assert torch.equal(to_tensor(read(index), side), to_tensor(open_image(path), side)), path.name


def test_reading_from_the_cache_is_decoding_to_the_bit(tmp_path: Path, files: Files) -> None:
    read = without_files(filled(tmp_path, files).reader(files.paths))
    assert_exact(read, files)
    sizes = {path.name: read(index).size for index, path in enumerate(files.paths)}
    assert sizes["0.png"] == (20, 20)
    assert sizes["2.png"] == (64, 16)  # as many pixels as the square
    assert sizes["3.png"] == sizes["4.png"] == sizes["5_gray.jpg"] == (32, 32)
    assert {read(index).mode for index in range(len(files.paths))} == {"RGB"}


def test_a_large_photograph_is_kept_as_decoding_it_for_its_side_gives_it(tmp_path: Path) -> None:
    path = tmp_path / "faces" / "large.jpg"
    path.parent.mkdir()
    pixels = np.random.default_rng(1).integers(0, 256, (10, 12, 3), np.uint8)
    Image.fromarray(pixels).resize((1201, 999), Image.Resampling.BICUBIC).save(path, quality=90)
    assert decode(path, SIDE).reduction(SIDE) > 1
    read = without_files(filled(tmp_path, Files((path,))).reader((path,)))
    assert np.array_equal(np.asarray(read(0)), np.asarray(open_image(path, SIDE)))


def test_nothing_is_decoded_twice_and_the_scan_is_the_same(
    tmp_path: Path, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = watch_decoding(monkeypatch)
    first, pictures, _ = look(files, cache(tmp_path), progress=False)
    second, again, _ = look(files, cache(tmp_path), progress=False)
    assert np.array_equal(pictures(), again())
    assert len(names) == len(files.paths)
    some = Files(files.paths[:3])
    third = scan(some, cache(tmp_path), progress=False)  # a part of the images leaves the others where they are
    scan(files, cache(tmp_path), progress=False)
    assert len(names) == len(files.paths)
    for field in ("reasons", "digests", "modes", "formats"):
        assert getattr(first, field) == getattr(second, field)
        assert getattr(first, field)[:3] == getattr(third, field)
    for field in ("widths", "heights", "frames", "sizes"):
        assert np.array_equal(getattr(first, field), getattr(second, field))


@pytest.mark.parametrize("restore_time", [False, True])
def test_only_changed_and_new_files_are_decoded_again(
    tmp_path: Path, files: Files, monkeypatch: pytest.MonkeyPatch, restore_time: bool
) -> None:
    filled(tmp_path, files)
    changed, fresh = files.paths[0], tmp_path / "faces" / "new.png"
    facts, content = changed.stat(), bytearray(changed.read_bytes())
    content[-20] ^= 1  # of the same size
    changed.write_bytes(content)
    os.utime(changed, ns=(0, facts.st_mtime_ns if restore_time else facts.st_mtime_ns + 1))
    Image.new("RGB", (8, 8), "red").save(fresh)
    names = watch_decoding(monkeypatch)
    scan(Files((*files.paths, fresh)), cache(tmp_path), progress=False)
    assert sorted(names) == [changed.name, "new.png"]


def coarse_clock(monkeypatch: pytest.MonkeyPatch, seconds: int) -> None:
    """Let the file system's clock tick every so many ``seconds``."""
    real, tick = os.stat, seconds * 10**9

    def stat(path: object, **options: object) -> SimpleNamespace:
        facts = real(path, **options)  # type: ignore[call-overload]
        known = {name: getattr(facts, name) for name in dir(facts) if name.startswith("st_")}
        return SimpleNamespace(**known | {name: known[name] // tick * tick for name in ("st_mtime_ns", "st_ctime_ns")})

    monkeypatch.setattr(os, "stat", stat)


@pytest.mark.parametrize("link", [False, True])
def test_another_file_of_the_same_size_and_times_in_its_place_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, link: bool
) -> None:
    coarse_clock(monkeypatch, 10**9)
    for color in ("red", "blue"):
        (tmp_path / color).mkdir()
        Image.new("RGB", (8, 8), color).save(tmp_path / color / "x.bmp")
    place = tmp_path / "faces"
    files = Files((place / "x.bmp",))
    for color in ("red", "blue"):
        if link:
            place.unlink(missing_ok=True)
            place.symlink_to(tmp_path / color)
        else:
            if place.exists():
                place.rename(tmp_path / "away")
            (tmp_path / color).rename(place)
        kept = filled(tmp_path, files)
    assert kept.reader(files.paths)(0).getpixel((0, 0)) == (0, 0, 255)


def test_a_change_within_a_tick_of_the_clock_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    coarse_clock(monkeypatch, 2)
    monkeypatch.setattr(cache_module, "CLOCK_TICK", 2.0)
    path = tmp_path / "faces" / "x.bmp"
    path.parent.mkdir()
    now = time.time_ns()
    for color in ("red", "blue"):
        Image.new("RGB", (8, 8), color).save(path)
        kept = filled(tmp_path, Files((path,)))
    assert kept.reader((path,))(0).getpixel((0, 0)) == (0, 0, 255)
    names = watch_decoding(monkeypatch)
    for seconds in (0, 10, 10):  # then it is as old as any other
        monkeypatch.setattr(time, "time_ns", lambda seconds=seconds: now + seconds * 10**9)
        filled(tmp_path, Files((path,)))
    assert names == ["x.bmp"] * 2


def test_a_file_changed_since_the_scan_is_read_itself(tmp_path: Path, files: Files) -> None:
    kept = filled(tmp_path, files)
    Image.new("RGB", (5, 5), "red").save(files.paths[0])
    assert kept.reader(files.paths)(0).size == (5, 5)


def test_each_side_has_a_cache_of_its_own(tmp_path: Path, files: Files) -> None:
    filled(tmp_path, files)
    other = filled(tmp_path, files, side=24)
    assert_exact(without_files(other.reader(files.paths)), files, 24)
    assert_exact(without_files(cache(tmp_path).reader(files.paths)), files)


def test_unreadable_files_are_tried_again_and_rewrite_nothing(
    tmp_path: Path, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.paths[1].write_bytes(b"no image")
    kept = filled(tmp_path, files)
    before = {path.name for path in kept.index.parent.iterdir()}
    names = watch_decoding(monkeypatch)
    found = scan(files, cache(tmp_path), progress=False)
    assert names == [files.paths[1].name]
    assert [bool(reason) for reason in found.reasons] == [index == 1 for index in range(len(files.paths))]
    assert {path.name for path in kept.index.parent.iterdir()} == before


def truncate_pixels(index: Path) -> None:
    pixels = next(index.parent.glob("*.pixels"))
    pixels.write_bytes(pixels.read_bytes()[:-1])


def remove_pixels(index: Path) -> None:
    next(index.parent.glob("*.pixels")).unlink()


def truncate_index(index: Path) -> None:
    index.write_bytes(index.read_bytes()[:-9])


def other_contents(index: Path) -> None:
    index.write_bytes(b"no archive")


def another_array(index: Path) -> None:
    with index.open("wb") as stream:
        np.save(stream, np.zeros(3))


@pytest.mark.parametrize("damage", [truncate_pixels, remove_pixels, truncate_index, other_contents, another_array])
def test_a_damaged_cache_is_said_and_made_anew(
    tmp_path: Path, files: Files, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], None]
) -> None:
    damage(filled(tmp_path, files).index)
    again = cache(tmp_path)
    with caplog.at_level(logging.WARNING):
        scan(files, again, progress=False)
    assert "is not used, and made anew" in caplog.text
    assert_exact(without_files(again.reader(files.paths)), files)


KILLED = """
import os, signal, sys
from pathlib import Path
from emotion_lightning.data.audit.scan import scan
from emotion_lightning.data.images import cache as cache_module
from emotion_lightning.data.images.cache import Cache
from emotion_lightning.data.images.decode import Files
import emotion_lightning.data.images.cache as module

root, folder, moment = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
if moment == "pixels":
    real = module.np.ascontiguousarray
    module.np.ascontiguousarray = lambda pixels: os.kill(os.getpid(), signal.SIGKILL)
else:
    module.np.savez = lambda *args, **arrays: os.kill(os.getpid(), signal.SIGKILL)
scan(Files(tuple(sorted(root.iterdir()))), Cache(root, 32, 1.0, folder), progress=False)
"""


@pytest.mark.parametrize("moment", ["pixels", "index"])
def test_a_kill_in_the_middle_leaves_the_last_version(tmp_path: Path, files: Files, moment: str) -> None:
    kept = filled(tmp_path, files)
    new = tmp_path / "faces" / "new.png"
    Image.new("RGB", (8, 8), "red").save(new)
    command = [sys.executable, "-c", KILLED, str(tmp_path / "faces"), str(tmp_path / "cache"), moment]
    assert subprocess.run(command, check=False, capture_output=True).returncode == -signal.SIGKILL
    assert_exact(without_files(cache(tmp_path).reader(files.paths)), files)
    left = [path for path in kept.index.parent.iterdir() if path.suffix in (".tmp", ".pixels")]
    assert len(left) > 1  # some of the killed run
    scan(Files((*files.paths, new)), cache(tmp_path), progress=False)
    assert len(list(kept.index.parent.iterdir())) == 2


def test_runs_at_once_do_not_hurt_each_other(tmp_path: Path, files: Files) -> None:
    first, second = cache(tmp_path), cache(tmp_path)
    scan(files, first, progress=False)
    old = first.reader(files.paths)
    old(0)  # maps the pixels
    Image.new("RGB", (8, 8), "red").save(tmp_path / "faces" / "new.png")
    scan(Files((*files.paths, tmp_path / "faces" / "new.png")), second, progress=False)
    assert_exact(without_files(old), files)
    sent = pickle.loads(pickle.dumps(first.reader(files.paths)))
    assert_exact(sent, files)


def test_the_budget_leaves_records_and_as_many_images_as_fit(
    tmp_path: Path, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = filled(tmp_path, files, budget_gb=5_000 / 1e9)
    names = watch_decoding(monkeypatch)
    again = cache(tmp_path, budget_gb=5_000 / 1e9)
    scan(files, again, progress=False)
    assert names == []
    thumbnails = THUMBNAIL**2 * len(files.paths)  # which the budget is not about
    assert 2_000 < next(kept.index.parent.glob("*.pixels")).stat().st_size - thumbnails <= 5_000
    assert_exact(again.reader(files.paths), files)


@pytest.mark.parametrize(("room", "said"), [(5_000, "images are not kept"), (-1, "0 MB beside its checkpoints")])
def test_the_cache_leaves_space_on_its_disk(
    tmp_path: Path,
    files: Files,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    room: int,
    said: str,
) -> None:
    each = sum(THUMBNAIL**2 + RECORD.itemsize + len(str(path)) for path in files.paths)
    monkeypatch.setattr(cache_module, "RESERVED", 7)
    monkeypatch.setattr(cache_module, "free_bytes", lambda folder: each + 7 + room)
    kept = filled(tmp_path, files)
    assert said in caplog.text
    assert_exact(kept.reader(files.paths), files)
    written = sum(path.stat().st_size for path in (tmp_path / "cache").glob("*.pixels"))
    assert written <= max(room, 0) + THUMBNAIL**2 * len(files.paths)
    assert (written > 0) == (room > 0)


def test_without_a_budget_nothing_is_written(tmp_path: Path, files: Files) -> None:
    assert_exact(filled(tmp_path, files, budget_gb=0).reader(files.paths), files)
    assert not (tmp_path / "cache").exists()


def test_the_data_sets_used_least_recently_make_room(tmp_path: Path, files: Files) -> None:
    folder = tmp_path / "cache"
    made = [Cache(tmp_path / name, SIDE, 1.0, folder) for name in "abc"]
    for age, each in enumerate(made[:2]):
        scan(files, each, progress=False)
        os.utime(each.index, (age, age))
    size = sum(path.stat().st_size for path in folder.iterdir()) / 2
    scan(files, Cache(tmp_path / "a", SIDE, 1.0, folder), progress=False)  # now b is the older one
    scan(files, Cache(tmp_path / "c", SIDE, 2.5 * size / 1e9, folder), progress=False)
    assert [each.index.exists() for each in made] == [True, False, True]
    assert len(list(folder.iterdir())) == 4


def test_a_folder_that_cannot_be_written_costs_only_a_line(
    tmp_path: Path, files: Files, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "cache").write_text("a file")
    with caplog.at_level(logging.WARNING):
        kept = filled(tmp_path, files)
    assert "going on without" in caplog.text
    assert_exact(kept.reader(files.paths), files)


def test_a_full_disk_costs_the_cache_but_no_record(
    tmp_path: Path, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = scan(files, None, progress=False)
    monkeypatch.setattr(os, "fsync", lambda descriptor: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    found = scan(files, cache(tmp_path), progress=False)
    assert found.digests == expected.digests
    assert not list((tmp_path / "cache").iterdir())


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_read_the_cache(tmp_path: Path, files: Files, method: str) -> None:
    read = without_files(filled(tmp_path, files).reader(files.paths))
    assert len(pickle.dumps(read)) < 4_000  # without the pixels
    with multiprocessing.get_context(method).Pool(1) as pool:
        images = pool.map(read, range(len(files.paths)))
    for index, image in enumerate(images):
        assert np.array_equal(np.asarray(image), np.asarray(read(index)))


def flip(file: Path, place: int) -> None:
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("method", [None, "fork"])
def test_damaged_pixels_are_said_once_and_decoded_anew(
    tmp_path: Path,
    files: Files,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    method: str | None,
) -> None:
    kept = filled(tmp_path, files)
    pixels = next(kept.index.parent.glob("*.pixels"))
    for place in (0, 5_000, pixels.stat().st_size - 1):
        flip(pixels, place)
    read = kept.reader(files.paths)
    monkeypatch.setattr(logging.getLogger(), "handlers", [logging.StreamHandler()])  # as in a program
    images: list[Image.Image] = []
    if method is None:
        images = [read(index) for index in range(len(files.paths))]
    else:
        with multiprocessing.get_context(method).Pool(1) as pool:
            images = pool.map(read, range(len(files.paths)), chunksize=len(files.paths))
    for image, path in zip(images, files.paths, strict=True):
        assert torch.equal(to_tensor(image, SIDE), to_tensor(open_image(path), SIDE)), path.name
    assert capfd.readouterr().err.count("are damaged; such images are decoded from their files") == 1


def test_damaged_pixels_stay_known_as_such_in_the_next_version(
    tmp_path: Path, files: Files, caplog: pytest.LogCaptureFixture
) -> None:
    flip(next(filled(tmp_path, files).index.parent.glob("*.pixels")), 0)
    Image.new("RGB", (8, 8), "red").save(tmp_path / "faces" / "new.png")
    scan(Files((*files.paths, tmp_path / "faces" / "new.png")), again := cache(tmp_path), progress=False)
    assert_exact(again.reader(files.paths), files)
    assert "are damaged" in caplog.text


def test_no_flipped_bit_of_the_index_is_taken_for_what_it_said(tmp_path: Path, files: Files) -> None:
    (expected, pictures, _), kept = look(files, None, progress=False), filled(tmp_path, files)
    sound = kept.index.read_bytes()
    for place in np.random.default_rng(0).integers(0, len(sound), 40).tolist():
        kept.index.write_bytes(sound)
        flip(kept.index, place)
        found, again_pictures, _ = look(files, again := cache(tmp_path), progress=False)
        assert found.digests == expected.digests
        assert np.array_equal(again_pictures(), pictures())
        assert_exact(again.reader(files.paths), files)
        kept = filled(tmp_path, files)
        sound = kept.index.read_bytes()


def test_where_caches_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("EMOTION_LIGHTNING_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert cache_folder() == tmp_path / ".cache" / "emotion_lightning"
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert cache_folder() == Path("/x/emotion_lightning")
    monkeypatch.setenv("EMOTION_LIGHTNING_CACHE", "/here")
    assert cache_folder() == Path("/here")


@pytest.mark.parametrize("budget_gb", [-1, float("nan"), float("inf")])
def test_a_budget_that_is_no_size_is_refused(tmp_path: Path, budget_gb: float) -> None:
    with pytest.raises(UsageError, match=r"`cache_gb` .* is no size"):
        cache(tmp_path, budget_gb)
