"""Train, judge and ship a facial-emotion classifier."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emotion_lightning.callbacks import default_callbacks
    from emotion_lightning.cli.notebook import fit
    from emotion_lightning.data.datamodule import EmotionDataModule
    from emotion_lightning.inference.predictor import Predictor, load
    from emotion_lightning.model.module import EmotionClassifier

__all__ = ["EmotionClassifier", "EmotionDataModule", "Predictor", "default_callbacks", "fit", "load"]

_HOMES = {
    "EmotionClassifier": "emotion_lightning.model.module",
    "EmotionDataModule": "emotion_lightning.data.datamodule",
    "Predictor": "emotion_lightning.inference.predictor",
    "default_callbacks": "emotion_lightning.callbacks",
    "fit": "emotion_lightning.cli.notebook",
    "load": "emotion_lightning.inference.predictor",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that importing the package itself stays cheap."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
