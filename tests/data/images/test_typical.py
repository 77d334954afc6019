"""Which pictures are photographs for a model, by the sizes of the images that it was trained on."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from emotion_lightning.data.datamodule import EmotionDataModule
from emotion_lightning.data.images.typical import TypicalSize
from tests.helpers import Lab

FER2013, RAFDB, AFFECTNET = TypicalSize(48, 1), TypicalSize(100, 1), TypicalSize(224, 1)
PHOTOGRAPHS = [(4000, 3000), (3000, 4000), (1024, 1024), (640, 480), (1280, 720)]
CROPS = [(48, 48), (100, 100), (224, 224), (96, 140), (250, 180)]


@pytest.mark.parametrize("trained_on", [FER2013, RAFDB, AFFECTNET])
def test_photographs_are_told_from_crops_of_any_data_set(trained_on: TypicalSize) -> None:
    assert trained_on.of_crops
    assert [size for size in PHOTOGRAPHS if not trained_on.is_photograph(*size)] == []
    assert [size for size in CROPS if trained_on.is_photograph(*size)] == []


def test_a_model_of_photographs_calls_no_picture_one() -> None:
    for size in (TypicalSize(800, 1.33), TypicalSize(2000, 1), TypicalSize(500, 1.5), TypicalSize(0, 0)):
        assert not size.of_crops
        assert not size.is_photograph(4000, 3000)


def test_the_medians_leave_out_unreadable_images() -> None:
    assert TypicalSize.of([0, 0, 0, 30, 50, 60], [0, 0, 0, 60, 50, 48]) == TypicalSize(60, 1.25)
    assert TypicalSize.of([], []) == TypicalSize(0, 0)


def test_a_checkpoint_says_how_large_its_training_images_were(lab: Lab, tmp_path: Path) -> None:
    trainer, data = lab.trainer(max_epochs=1), lab.data()
    trainer.fit(lab.model(), data)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    saved = torch.load(tmp_path / "a.ckpt", weights_only=True)["EmotionDataModule"]["typical_size"]
    assert TypicalSize(**saved) == TypicalSize(32, 1)
    assert EmotionDataModule().typical_size() == TypicalSize(96, 1)  # of the drawn faces


def test_training_images_count_alone(faces: Path, tmp_path: Path) -> None:
    few = [path for path in faces.rglob("*.png") if "train" not in path.parts or path.stem < "05"]  # the smaller part
    for path in sorted(few):
        file = tmp_path / path.relative_to(faces)
        file.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(path) as face:
            face.resize((64, 48) if "train" in path.parts else (300, 300)).save(file)
    assert EmotionDataModule(root=str(tmp_path), image_size=32).typical_size() == TypicalSize(64, 64 / 48)
