"""The one way from a callback to the data, and to what the trainer is at."""

from lightning.pytorch import Trainer

from emotion_lightning.data.datamodule import EmotionDataModule


def data_of(trainer: Trainer) -> EmotionDataModule | None:
    """The datamodule of ``trainer``; None where it has another kind of data, such as plain loaders."""
    data = getattr(trainer, "datamodule", None)
    return data if isinstance(data, EmotionDataModule) else None


def validated_in_fit(trainer: Trainer) -> bool:
    """Whether the validation that is under way is one of a fit, whose trial before training does not count."""
    return trainer.state.fn == "fit" and not trainer.sanity_checking
