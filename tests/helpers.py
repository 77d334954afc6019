"""What several tests need: small runs, small data sets and comparisons. No test imports another."""

import io
import random
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from emotion_lightning.callbacks import EMA, BatchSize, Calibration, EarlyStopping, RunCheckpoint, SaveData, Unfreeze
from emotion_lightning.cli import main
from emotion_lightning.data.datamodule import EmotionDataModule
from emotion_lightning.data.sources.splits import Split
from emotion_lightning.model.module import EmotionClassifier

CLASSES = ("angry", "happy", "surprised")
SIZES = {"train": 16, "val": 6, "test": 6}
SCHEDULE = {0: "classifier_only", 1: "layer4", 2: "all_layers"}

TINY = [
    *("--model.backbone", "test_resnet", "--model.pretrained", "false", "--model.hidden_features", "16"),
    *("--model.lr_backbone", "1e-3", "--model.lr_classifier", "1e-2"),
    *("--data.image_size", "32", "--data.batch_size", "8", "--data.num_workers", "0"),
    *("--unfreeze.schedule", "{0: classifier_only, 1: layer4, 2: all_layers}", "--ema.decay", "0.9"),
    *("--trainer.max_epochs", "3", "--trainer.log_every_n_steps", "1"),
]
QUIET = [
    *("--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false"),
    *("--report.write", "false", "--tensorboard.every_n_epochs", "0"),
]
RUN = Path("lightning_logs/version_0")

VARYING = ("best_model_path",)  # paths differ between the two runs' folders


class Lab:
    """Makes what a small experiment needs; keyword arguments override the small settings."""

    def __init__(self, faces: Path, folder: Path) -> None:
        self.faces, self.folder = faces, folder

    def data(self, **options: Any) -> EmotionDataModule:
        small = {"root": str(self.faces), "image_size": 32, "batch_size": 8, "num_workers": 0, "unfreeze_epoch": 1}
        return EmotionDataModule(**small | options)

    def model(self, **options: Any) -> EmotionClassifier:
        torch.manual_seed(0)
        small = {"class_names": list(CLASSES), "backbone": "test_resnet", "pretrained": False, "hidden_features": 16}
        return EmotionClassifier(**small | {"lr_backbone": 1e-3, "lr_classifier": 1e-2} | options)

    def trainer(self, folder: str = "run", **options: Any) -> Trainer:
        """A quiet trainer with the recipe's callbacks; keyword ``callbacks`` puts others in their place."""
        quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
        recipe = [
            *(Unfreeze(SCHEDULE), EMA(0.9), EarlyStopping(patience=3, start_epoch=2), RunCheckpoint(every_n_epochs=1)),
            *(BatchSize(), SaveData(), Calibration()),
        ]
        run = {"max_epochs": 3, "gradient_clip_val": 1.0, "callbacks": recipe, "default_root_dir": self.folder / folder}
        return Trainer(**quiet | run | options)


def fails(capsys: pytest.CaptureFixture[str], status: int, *args: str) -> str:
    """Run ``args``, which must end with ``status`` and one error message; return the message."""
    with pytest.raises(SystemExit) as stopped:
        main(args)
    assert stopped.value.code == status
    error = capsys.readouterr().err
    assert "Traceback" not in error
    return error[error.index("error: ") :]


class Tty(io.StringIO):
    """A terminal that keeps what it is sent."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> Tty:
    """Make standard error a terminal; in a test's own body, as pytest puts its own stream there before."""
    stream = Tty()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return stream


def screen(text: str) -> list[str]:
    """What a terminal shows of ``text``, in which a carriage return begins a line again."""
    lines = []
    for line in text.split("\n"):
        shown = ""
        for part in line.split("\r"):
            shown = part + shown[len(part) :]
        lines.append(shown.rstrip())
    return lines


def assert_equal(a: Any, b: Any, where: str = "") -> None:
    """Compare two checkpoints to the bit."""
    assert type(a) is type(b), where
    if isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            if key not in VARYING:
                assert_equal(a[key], b[key], f"{where}.{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), where
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_equal(x, y, f"{where}[{i}]")
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b), where
    else:
        assert a == b, where


def naive(digests: Sequence[str], labels: Sequence[int]) -> list[Split]:
    """The random split that people write: images one by one, whatever they show."""
    order = random.Random(0).sample(range(len(digests)), len(digests))
    bounds = (0.7 * len(order), 0.85 * len(order))
    return ["train" if place < bounds[0] else "val" if place < bounds[1] else "test" for place in order]


def straddling(digests: Sequence[str], splits: Sequence[Split]) -> int:
    found = defaultdict(set)
    for digest, split in zip(digests, splits, strict=True):
        found[digest].add(split)
    return sum(len(splits) > 1 for splits in found.values())


class Batches(Callback):
    """Keeps what the model was given in training."""

    def __init__(self) -> None:
        self.images: list[torch.Tensor] = []
        self.indices: list[list[int]] = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self.images.append(batch[0].clone())
        self.indices.append(batch[2].tolist())
