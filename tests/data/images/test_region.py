from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from emotion_lightning.data.audit.scan import scan
from emotion_lightning.data.images.cache import Cache
from emotion_lightning.data.images.decode import Files, UnreadableImage, decode, open_image
from emotion_lightning.data.images.region import Region, file_of, split_region, with_region


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """40 x 30 pixels, of which each has a value of its own."""
    pixels = np.arange(40 * 30 * 3, dtype=np.uint32).reshape(30, 40, 3) % 251
    Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def part(path: Path, *values: float, percent: bool = False) -> Path:
    return path.with_name(with_region(path.name, Region(percent, *values)))


def test_names_are_those_of_media_fragments() -> None:
    assert with_region("x.jpg", Region(False, 1, 2, 30, 40)) == "x.jpg#xywh=1,2,30,40"
    assert with_region("x.jpg", Region(True, 12.5, 0, 50, 100)) == "x.jpg#xywh=percent:12.5,0,50,100"
    for name in ("x.jpg", "x#1.jpg", "x.jpg#xywh=1,2,3", "x.jpg#xywh=a,b,c,d", "x.jpg#xywh=-1,2,3,4"):
        assert split_region(Path(name)) == (Path(name), None)
    assert file_of(Path("a/x.jpg#xywh=1,2,30,40")) == Path("a/x.jpg")
    assert split_region(Path("x.jpg#xywh=percent:1,2,3,4.5"))[1] == Region(True, 1, 2, 3, 4.5)


def test_parts_are_cut_in_pixels_or_percent_as_far_as_they_lie_inside(image: Path) -> None:
    whole = np.asarray(open_image(image))
    assert (np.asarray(open_image(part(image, 10, 5, 8, 9))) == whole[5:14, 10:18]).all()
    assert (np.asarray(open_image(part(image, 25, 50, 50, 50, percent=True))) == whole[15:30, 10:30]).all()
    decoded = decode(part(image, 36, 20, 99, 99))
    assert (decoded.width, decoded.height, decoded.box) == (4, 10, (0, 0, 4, 10))
    assert open_image(part(image, 50, 50, 0.5, 0.5, percent=True)).size == (1, 1)  # never less than a pixel
    for empty in ((40, 0, 5, 5), (0, 0, 0, 5), (100, 100, 5, 5)):
        with pytest.raises(UnreadableImage, match=r"a\.png#xywh=.*: its part .* lies outside of 40 x 30 pixels"):
            open_image(part(image, *empty))


def test_a_part_is_of_the_upright_image_and_of_all_of_a_large_one(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    photo = Image.new("RGB", (1600, 1200))
    photo.paste((255, 255, 255), (0, 0, 800, 1200))
    photo.save(tmp_path / "p.jpg", exif=exif, quality=95)  # upright: 1200 x 1600, of which the upper half is white
    assert np.asarray(open_image(part(tmp_path / "p.jpg", 0, 0, 1200, 700), side=32)).min() > 250
    assert np.asarray(open_image(part(tmp_path / "p.jpg", 0, 1000, 1200, 600), side=32)).max() < 5


def test_parts_are_scanned_and_cached_each_for_itself(image: Path, tmp_path: Path) -> None:
    paths = (part(image, 0, 0, 10, 10), part(image, 0, 10, 10, 10), image)
    cache = Cache(tmp_path, 16, folder=tmp_path / "cache")
    found = scan(Files(paths), cache, progress=False)
    assert found.widths.tolist() == [10, 10, 40]
    assert len(set(found.digests)) == len({Files(paths).digest(index) for index in range(3)}) == 3
    assert cache.lookup(paths)[1].tolist() == []
    read = cache.reader(paths)
    assert [read(index).tobytes() for index in (0, 1)] == [open_image(path).tobytes() for path in paths[:2]]
    Image.new("RGB", (40, 30)).save(image)
    assert cache.lookup(paths)[1].tolist() == [0, 1, 2]


def test_large_parts_of_one_file_are_different_images(tmp_path: Path) -> None:
    Image.new("RGB", (2400, 1200), (9, 9, 9)).save(tmp_path / "p.jpg")
    halves = part(tmp_path / "p.jpg", 0, 0, 1200, 1200), part(tmp_path / "p.jpg", 1200, 0, 1200, 1200)
    assert len(set(scan(Files(halves), None, progress=False).digests)) == 2
