from pathlib import Path

import pytest

from emotion_lightning.data.sources.layouts.contents import advice, count_kinds, is_archive, what_is_in


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["b.heic", "a.HEIC"], "2 HEIC images (a.HEIC, …)"),
        (["a.heic", "a.avif"], "1 AVIF image (a.avif), 1 HEIC image (a.heic)"),
        (["x/a.mp4", "x/b.MOV"], "2 videos (x/a.mp4, …)"),
        (["a.tar.gz", "b.7z.001", "c.z01", "d.zip", "e.rar"], "5 archives (a.tar.gz, …)"),
        (["a.parquet", "b.parquet"], "2 .parquet files (a.parquet, …)"),
        (["a", "b", "c"], "3 files without a suffix (a, …)"),
        (["a.jpg", "b.csv", "c.tsv", "d.lst"], "1 image (a.jpg), 2 tables (b.csv, …), 1 list (d.lst)"),
        (["a -> b", "c"], "1 link that leads nowhere new (a -> b), 1 file without a suffix (c)"),
        (["a -> b", "c -> d"], "2 links that lead nowhere new (a -> b, …)"),
    ],
)
def test_files_are_counted_by_kind(names: list[str], said: str) -> None:
    assert count_kinds(names) == said


def test_what_is_in_a_folder_and_what_to_do_the_most_first(tmp_path: Path) -> None:
    assert what_is_in(tmp_path) == "it holds no files"
    (tmp_path / "x.npz").touch()
    (tmp_path / "deep").mkdir()
    for name in ("a.heic", "b.heic"):
        (tmp_path / "deep" / name).touch()
    assert what_is_in(tmp_path) == (
        "it holds 2 HEIC images (deep/a.heic, …), 1 .npz file (x.npz): save them as JPEG or PNG; "
        "save their images as files in folders of their classes (<class>/*.png)"
    )
    (tmp_path / "deep" / "x.xyz").touch()
    assert what_is_in(tmp_path / "deep").startswith("it holds 2 HEIC images (a.heic, …), 1 .xyz file (x.xyz): save ")


def test_kinds_without_advice() -> None:
    assert advice("x.xyz") == ""
    assert is_archive("x.part1")
    assert not is_archive("x.jpg")
