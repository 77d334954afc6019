"""From planted copies to what training leaves out and what a test says of them."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from emotion_lightning.data.audit import scan
from emotion_lightning.data.audit.face_data import FaceData
from emotion_lightning.data.datamodule import EmotionDataModule
from emotion_lightning.data.drawn import draw_face
from emotion_lightning.data.images import decode as images
from tests.helpers import Lab

pytestmark = pytest.mark.usefixtures("in_an_empty_folder")

RUN = Path("lightning_logs/version_0")


def test_images_are_the_same_to_the_bit_with_and_without_the_cache(faces: Path, lab: Lab) -> None:
    batches = []
    for gigabytes in (0.0, 1.0, 1.0):
        data = lab.data(cache_gb=gigabytes)
        batches.append([next(iter(loader)) for loader in (data.train_dataloader(), data.val_dataloader())])
    for other in batches[1:]:
        for one, same in zip(batches[0], other, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))


def test_each_image_is_decoded_once_for_each_size_and_comes_from_the_cache_to_the_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flat = tmp_path / "flat"
    for name in ("angry", "happy"):
        (flat / name).mkdir(parents=True)
        for index in range(20):
            size = (30, 36, 60)[index % 3]  # below what evaluation uses, between that and training's, above both
            draw_face(name, seed=8, index=index, size=size).save(flat / name / f"{index:02d}.png")
    decoded: list[Path] = []
    real = images.decode
    for module in (images, scan):
        monkeypatch.setattr(module, "decode", lambda path, *args: decoded.append(path) or real(path, *args))

    def batches(gigabytes: float) -> list[torch.Tensor]:
        data = EmotionDataModule(str(flat), image_size=32, batch_size=8, num_workers=0, cache_gb=gigabytes)
        loaders = (data.train_dataloader(), data.val_dataloader(), data.test_dataloader())
        return [batch[0] for loader in loaders for batch in loader]

    cached = batches(1.0)
    assert set(decoded) == set(flat.rglob("*.png"))
    assert len(decoded) <= 2 * len(set(decoded))
    decoded.clear()
    again = batches(1.0)
    assert decoded == []
    monkeypatch.setattr(FaceData, "reader", lambda data, *_: data.manifest.read)
    for one, same, direct in zip(cached, again, batches(1.0), strict=True):
        assert torch.equal(one, same)
        assert torch.equal(one, direct)


def test_near_copies_stay_on_one_side_of_a_cut(faces: Path, tmp_path: Path) -> None:
    flat = tmp_path / "flat"
    for name in ("angry", "happy", "surprised"):
        (flat / name).mkdir(parents=True)
        for path in sorted((faces / "train" / name).iterdir()):
            image = Image.open(path)
            image.save(flat / name / path.name)
            image.resize((44, 44)).save(flat / name / f"{path.stem}0.jpg", quality=90)
    data = EmotionDataModule(str(flat), image_size=32)
    assert data.audit is not None
    assert len(data.audit.near) >= 40
    assert data.audit.leaks == {}
    assert set(data.manifest.splits) == {"train", "val", "test"}
