import shutil
from pathlib import Path

import pytest

from emotion_lightning.data import inspection
from emotion_lightning.data.cache import Cache
from emotion_lightning.data.faces import draw_face
from emotion_lightning.data.images import Files
from emotion_lightning.data.inspection import inspect


@pytest.fixture
def source(tmp_path: Path) -> Files:
    paths = tuple(tmp_path / f"{number}.png" for number in range(6))
    for number, path in enumerate(paths):
        draw_face("happy", seed=5, index=number, size=48).save(path)
    draw_face("happy", seed=5, index=0, size=48).resize((40, 40)).save(paths[5])
    return Files(paths)


def copies(source: Files, cache: Cache) -> list[tuple[int, int, str]]:
    return [(pair.first, pair.second, pair.kind) for pair in inspect(source, cache, progress=False).pairs]


def test_what_was_compared_is_not_compared_again(
    source: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = Cache(tmp_path, 64, folder=tmp_path / "cache")
    first = inspect(source, cache, progress=False)
    monkeypatch.setattr(inspection, "find_pairs", lambda *_: pytest.fail("compared again"))
    again = inspect(source, Cache(tmp_path, 64, folder=tmp_path / "cache"), progress=False)
    assert first.pairs == again.pairs
    assert [(pair.first, pair.second) for pair in again.pairs] == [(0, 5)]
    assert again.copies()[0] == again.copies()[5] != again.copies()[1]


def test_changed_images_are_compared_anew(source: Files, tmp_path: Path) -> None:
    cache = Cache(tmp_path, 64, folder=tmp_path / "cache")
    assert copies(source, cache) == [(0, 5, "near")]
    shutil.copy(source.paths[1], source.paths[5])
    assert copies(source, cache) == [(1, 5, "exact")]


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 half an archive"])
def test_damaged_findings_are_found_anew(source: Files, tmp_path: Path, content: bytes) -> None:
    cache = Cache(tmp_path, 64, folder=tmp_path / "cache")
    expected = copies(source, cache)
    next((tmp_path / "cache").glob("*.pairs.npz")).write_bytes(content)
    assert copies(source, cache) == expected


def test_without_a_cache_on_disk_nothing_is_written(source: Files, tmp_path: Path) -> None:
    assert copies(source, Cache(tmp_path, 64, gigabytes=0, folder=tmp_path / "cache")) == [(0, 5, "near")]
    assert not (tmp_path / "cache").exists()
