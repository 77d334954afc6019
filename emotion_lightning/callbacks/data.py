"""The one way from a callback to the data, and to what the trainer is at."""

from collections import Counter

from lightning.pytorch import Trainer

from emotion_lightning.data.audit.coverage import part_of
from emotion_lightning.data.datamodule import EmotionDataModule


def data_of(trainer: Trainer) -> EmotionDataModule | None:
    """The datamodule of ``trainer``; None where it has another kind of data, such as plain loaders."""
    data = getattr(trainer, "datamodule", None)
    return data if isinstance(data, EmotionDataModule) else None


def measured_part(trainer: Trainer) -> str:
    """How much of the validation split is measured, as " (80 of 350 images)"; nothing if it is all."""
    data = data_of(trainer)
    if data is None:
        return ""
    measured = data.measured("val")
    found = Counter(data.manifest.labels[index] for index in measured)
    counts = [found[label] for label in range(len(data.class_names))]
    return part_of(len(measured), len(data.indices("val")), counts)


def validated_in_fit(trainer: Trainer) -> bool:
    """Whether the validation that is under way is one of a fit, whose trial before training does not count."""
    return trainer.state.fn == "fit" and not trainer.sanity_checking
