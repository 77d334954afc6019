import shutil
from pathlib import Path

import pytest

from emotion_lightning.data.audit import inspection
from emotion_lightning.data.audit.inspection import inspect
from emotion_lightning.data.drawn import draw_face
from emotion_lightning.data.images.cache import Cache
from emotion_lightning.data.images.decode import Files


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
    _, alike = again.split_groups()
    assert alike[0] == alike[5] != alike[1]


def test_changed_images_are_compared_anew(source: Files, tmp_path: Path) -> None:
    cache = Cache(tmp_path, 64, folder=tmp_path / "cache")
    assert copies(source, cache) == [(0, 5, "near")]
    shutil.copy(source.paths[1], source.paths[5])
    assert copies(source, cache) == [(1, 5, "exact")]


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 half an archive"])
def test_damaged_findings_are_found_anew(source: Files, tmp_path: Path, content: bytes) -> None:
    cache = Cache(tmp_path, 64, folder=tmp_path / "cache")
    expected = copies(source, cache)
    next((tmp_path / "cache").glob("*.pairs")).write_bytes(content)
    assert copies(source, cache) == expected


def test_without_a_cache_on_disk_nothing_is_written(source: Files, tmp_path: Path) -> None:
    assert copies(source, Cache(tmp_path, 64, budget_gb=0, folder=tmp_path / "cache")) == [(0, 5, "near")]
    assert not (tmp_path / "cache").exists()


def test_images_with_the_same_damage_have_nothing_in_common(source: Files, tmp_path: Path) -> None:
    for path in source.paths[:3]:
        path.write_bytes(b"")
    for keys in inspect(source, Cache(tmp_path, 64, folder=tmp_path / "cache"), progress=False).split_groups():
        found = [key for key in keys[:3] if key is not None]
        assert len(set(found)) == len(found)
        assert set(found).isdisjoint(keys[3:])


def test_the_findings_go_with_the_pixels_that_they_are_about(source: Files, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    inspect(source, Cache(tmp_path / "a", 64, folder=folder), progress=False)
    size = sum(path.stat().st_size for path in folder.iterdir())
    inspect(source, Cache(tmp_path / "b", 64, budget_gb=1.5 * size / 1e9, folder=folder), progress=False)
    assert sorted(path.suffix for path in folder.iterdir()) == [".npz", ".pairs", ".pixels"]
