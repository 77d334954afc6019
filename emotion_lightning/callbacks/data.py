"""The one way from a callback to the data."""

from lightning.pytorch import Trainer

from emotion_lightning.data.datamodule import EmotionDataModule


def data_of(trainer: Trainer) -> EmotionDataModule | None:
    """The datamodule of ``trainer``; None where it has another kind of data, such as plain loaders."""
    data = getattr(trainer, "datamodule", None)
    return data if isinstance(data, EmotionDataModule) else None
