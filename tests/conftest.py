import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer

from emotion_lightning.callbacks import EMA, Checkpoint, EarlyStopping, Unfreeze
from emotion_lightning.data.datamodule import EmotionDataModule
from emotion_lightning.data.faces import draw_face
from emotion_lightning.model.module import EmotionClassifier

CLASSES = ("angry", "happy", "surprised")
SIZES = {"train": 16, "val": 6, "test": 6}
SCHEDULE = {0: "classifier_only", 1: "layer4", 2: "all_layers"}


@pytest.fixture(scope="session", autouse=True)
def a_cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep decoded images out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMOTION_LIGHTNING_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a folder of its own, as the program that a user starts."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["emotion_lightning"])


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


@pytest.fixture(scope="session")
def reported(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was trained and tested, with its report."""
    from emotion_lightning.cli import main
    from tests.test_cli import RUN, TINY

    quiet = ["--trainer.enable_progress_bar", "false"]
    folder = tmp_path_factory.mktemp("reported")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["emotion_lightning"])
        main(["fit", "--data.root", str(faces), *TINY, *quiet, "--report.baseline_accuracy", "0.25"])
        main(["test", "--ckpt_path", str(RUN / "checkpoints/best.ckpt"), *quiet])
    return folder / RUN


class Lab:
    """Makes what a small experiment needs; keyword arguments override the small settings."""

    def __init__(self, faces: Path, folder: Path) -> None:
        self.faces, self.folder = faces, folder

    def data(self, **options: Any) -> EmotionDataModule:
        small = {"root": str(self.faces), "image_size": 32, "batch_size": 8, "num_workers": 0, "finetune_epoch": 1}
        return EmotionDataModule(**small | options)

    def model(self, **options: Any) -> EmotionClassifier:
        torch.manual_seed(0)
        small = {"class_names": list(CLASSES), "backbone": "test_resnet", "pretrained": False, "hidden_features": 16}
        return EmotionClassifier(**small | {"lr_backbone": 1e-3, "lr_classifier": 1e-2} | options)

    def trainer(self, folder: str = "run", **options: Any) -> Trainer:
        """A quiet trainer with the recipe's callbacks; keyword ``callbacks`` puts others in their place."""
        quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
        recipe = [Unfreeze(SCHEDULE), EMA(0.9), EarlyStopping(patience=3), Checkpoint(every_n_epochs=1)]
        run = {"max_epochs": 3, "gradient_clip_val": 1.0, "callbacks": recipe, "default_root_dir": self.folder / folder}
        return Trainer(**quiet | run | options)


@pytest.fixture
def lab(faces: Path, tmp_path: Path) -> Lab:
    return Lab(faces, tmp_path)
