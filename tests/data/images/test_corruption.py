"""Files as disks and downloads damage them: left out one by one and listed, or the run stops before it begins."""

import json
import zlib
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from emotion_lightning.data.drawn import draw_face
from emotion_lightning.data.images.decode import UnreadableImage, open_image
from emotion_lightning.errors import DataError
from tests.helpers import CLASSES, Lab


def _png(width: int, height: int, pixels: bytes) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return len(content).to_bytes(4) + kind + content + zlib.crc32(kind + content).to_bytes(4)

    header = width.to_bytes(4) + height.to_bytes(4) + bytes([8, 0, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda png: b"",
    "one byte": lambda png: png[:1],
    "signature alone": lambda png: png[:8],
    "header alone": lambda png: png[:33],
    "a third": lambda png: png[: len(png) // 3],
    "half": lambda png: png[: len(png) // 2],
    "all but the end": lambda png: png[:-60],
    "zeros": lambda png: bytes(len(png)),
    "zeros at the start": lambda png: bytes(64) + png[64:],
    "zeros in the middle": lambda png: png[:200] + bytes(400) + png[600:],
    "random bytes": lambda png: Random(0).randbytes(len(png)),
    "text": lambda png: b"404 not found\n",
    "a web page": lambda png: b"<!doctype html><title>Sign in</title>",
    "a pointer of git lfs": lambda png: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
    "a gif": lambda png: (
        b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"
    ),
    "a tiff": lambda png: b"II*\x00\x08\x00\x00\x00" + bytes(60),
    "a pdf": lambda png: b"%PDF-1.7\n" + bytes(60),
    "an archive": lambda png: b"PK\x03\x04" + png,
    "no pixels": lambda png: _png(32, 32, b""),
    "far too many pixels": lambda png: _png(60_000, 60_000, bytes(1000)),
}


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, set[Path]]:
    """Two thousand images, of which one per cent are damaged, each in another way."""
    root = tmp_path_factory.mktemp("damaged")
    paths = []
    for split, size in (("train", 500), ("val", 100), ("test", 67)):
        for emotion in CLASSES:
            (root / split / emotion).mkdir(parents=True)
            for index in range(size):
                path = root / split / emotion / f"{index:03d}.png"
                draw_face(emotion, seed={"train": 1, "val": 2, "test": 3}[split], index=index, size=32).save(path)
                paths.append(path)
    broken = Random(0).sample(paths, len(DAMAGES))
    for path, damage in zip(broken, DAMAGES.values(), strict=True):
        path.write_bytes(damage(path.read_bytes()))
    return root, set(broken)


@pytest.mark.parametrize("kind", DAMAGES)
def test_every_damage_is_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "face.png"
    draw_face("happy", seed=0, index=0, size=32).save(path)
    path.write_bytes(DAMAGES[kind](path.read_bytes()))
    with pytest.raises(UnreadableImage, match=r"face\.png: ."):
        open_image(path)


@pytest.mark.slow
def test_skip_leaves_out_exactly_the_damaged_images(damaged: tuple[Path, set[Path]], lab: Lab) -> None:
    root, broken = damaged
    data, trainer = lab.data(root=str(root), unreadable="skip", batch_size=64), lab.trainer(max_epochs=1)
    trainer.fit(lab.model(), data)
    assert trainer.global_step > 0
    for split, size in (("train", 500), ("val", 100), ("test", 67)):
        found = [data.manifest.labels[index] for index in data.indices(split)]
        lost = [path.parent.name for path in broken if path.parent.parent.name == split]
        assert [found.count(label) for label in range(3)] == [size - lost.count(emotion) for emotion in CLASSES]
    report = json.loads((lab.folder / "run" / "audit.json").read_text())
    assert {root / image["path"] for image in report["unreadable_images"]} == broken
    assert all(image["reason"] for image in report["unreadable_images"])


@pytest.mark.slow
def test_error_stops_before_training_and_lists_them_all(damaged: tuple[Path, set[Path]], lab: Lab) -> None:
    root, broken = damaged
    trainer = lab.trainer(max_epochs=1)
    with pytest.raises(DataError, match=r"20 unreadable image\(s\)") as stopped:
        trainer.fit(lab.model(), lab.data(root=str(root)))
    assert all(str(path) in str(stopped.value) for path in broken)
    assert trainer.global_step == 0
