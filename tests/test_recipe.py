"""The recipe's numbers, each as the source document has it."""

import inspect
from typing import Any

import pytest

from emotion_lightning.batch import IMAGENET
from emotion_lightning.callbacks import EMA, EarlyStopping, RunCheckpoint, Unfreeze, default_callbacks
from emotion_lightning.cli.app import RECIPE_TRAINER
from emotion_lightning.data.augment import POLICIES, AugmentPolicy
from emotion_lightning.data.datamodule import EmotionDataModule
from emotion_lightning.evaluation.metrics import MONITOR
from emotion_lightning.model.head import EnhancedClassifier
from emotion_lightning.model.mix import MixUpCutMix
from emotion_lightning.model.module import EmotionClassifier
from emotion_lightning.schedule import RECIPE_SCHEDULE

UNFREEZING = {0: "classifier_only", 10: "layer4", 20: "layer3", 30: "layer2", 40: "all_layers"}


@pytest.mark.parametrize(
    ("made", "numbers"),
    [
        (
            EmotionClassifier,
            {"backbone": "resnet50", "pretrained": True, "hidden_features": 512, "dropout_rate": 0.5}
            | {"lr_backbone": 1e-5, "lr_classifier": 1e-3, "weight_decay": 0.01, "eps": 1e-8, "pct_start": 0.1}
            | {"label_smoothing": 0.1, "mix_prob": 0.8, "mixup_alpha": 0.3, "cutmix_alpha": 1.0, "seed": 42},
        ),
        (EnhancedClassifier, {"hidden_features": 512, "dropout_rate": 0.5}),
        (MixUpCutMix, {"prob": 0.8, "mixup_alpha": 0.3, "cutmix_alpha": 1.0}),
        (
            EmotionDataModule,
            {"image_size": 224, "batch_size": 16, "eval_batch_size": "auto", "unfreeze_epoch": 10, "seed": 42},
        ),
        (Unfreeze, {"schedule": UNFREEZING}),
        (EMA, {"decay": 0.9999}),
        (EarlyStopping, {"patience": 15, "min_delta": 0.001, "start_epoch": 40}),
        (RunCheckpoint, {"every_n_epochs": 5}),
        (default_callbacks, {"schedule": UNFREEZING, "ema_decay": 0.9999, "patience": 15, "every_n_epochs": 5}),
    ],
)
def test_defaults_are_the_recipes(made: Any, numbers: dict[str, Any]) -> None:
    parameters = inspect.signature(made).parameters
    assert {name: parameters[name].default for name in numbers} == numbers


def test_what_has_no_option_is_the_recipes() -> None:
    trainer = {"max_epochs": 80, "precision": "16-mixed", "gradient_clip_val": 1.0}
    assert RECIPE_TRAINER.items() >= trainer.items()
    assert RECIPE_TRAINER.get("gradient_clip_algorithm", "norm") == "norm"
    assert RECIPE_SCHEDULE == UNFREEZING
    assert IMAGENET == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    stopping = EarlyStopping()
    assert (stopping.monitor, stopping.mode, stopping.patience) == (MONITOR, "max", 15) == ("val/f1_macro", "max", 15)


def test_augmentation_is_the_recipes() -> None:
    recipe = {
        1: AugmentPolicy(resize=256 / 224, flip=0.5, degrees=10, jitter=0.2, hue=0.1),
        2: AugmentPolicy(
            resize=288 / 224,
            crop_area=(0.8, 1.0),
            crop_ratio=(0.9, 1.1),
            flip=0.5,
            degrees=15,
            translate=0.1,
            scale=(0.9, 1.1),
            shear=5,
            jitter=0.3,
            hue=0.15,
            gray=0.1,
            erase=0.1,
            erase_area=(0.02, 0.1),
        ),
    }
    assert recipe == {phase: POLICIES[phase] for phase in (1, 2)}
    still = AugmentPolicy(resize=1.0, flip=0.0)
    off = (still.degrees, still.translate, still.scale, still.shear, still.jitter, still.hue, still.gray, still.erase)
    assert off == (0, 0, (1, 1), 0, 0, 0, 0, 0)
