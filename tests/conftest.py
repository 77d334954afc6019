from collections.abc import Callable
from pathlib import Path

import pytest
from lightning.pytorch import Trainer

from emotion_lightning.callbacks import EMA, Checkpoint, EarlyStopping, Unfreeze
from emotion_lightning.data.datamodule import EmotionDataModule
from emotion_lightning.data.faces import draw_face
from emotion_lightning.model.module import EmotionClassifier

CLASSES = ("angry", "happy", "surprised")
SIZES = {"train": 16, "val": 6, "test": 6}
SCHEDULE = {0: "classifier_only", 1: "layer4", 2: "all_layers"}


@pytest.fixture(scope="session")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder tree with splits: three emotions of small drawn faces."""
    root = tmp_path_factory.mktemp("faces")
    for offset, (split, size) in enumerate(SIZES.items()):
        for name in CLASSES:
            folder = root / split / name
            folder.mkdir(parents=True)
            for index in range(size):
                draw_face(name, seed=1, index=100 * offset + index, size=32).save(folder / f"{index:02d}.png")
    return root


@pytest.fixture
def make_data(faces: Path) -> Callable[..., EmotionDataModule]:
    def make(**options: object) -> EmotionDataModule:
        return EmotionDataModule(
            **{"root": str(faces), "image_size": 32, "batch_size": 8, "num_workers": 0, "finetune_epoch": 1} | options
        )

    return make


@pytest.fixture
def make_model() -> Callable[..., EmotionClassifier]:
    def make(**options: object) -> EmotionClassifier:
        import torch

        torch.manual_seed(0)
        small = {"backbone": "test_resnet", "pretrained": False, "hidden_features": 16}
        return EmotionClassifier(
            **{"class_names": list(CLASSES), "lr_backbone": 1e-3, "lr_classifier": 1e-2} | small | options
        )

    return make


@pytest.fixture
def make_trainer(tmp_path: Path) -> Callable[..., Trainer]:
    """A quiet trainer with the recipe's callbacks; keyword ``callbacks`` puts others in their place."""

    def make(folder: str = "run", **options: object) -> Trainer:
        quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
        recipe = [Unfreeze(SCHEDULE), EMA(0.9), EarlyStopping(patience=3), Checkpoint(every_n_epochs=1)]
        return Trainer(
            **quiet
            | {"max_epochs": 3, "gradient_clip_val": 1.0, "callbacks": recipe, "default_root_dir": tmp_path / folder}
            | options
        )

    return make
