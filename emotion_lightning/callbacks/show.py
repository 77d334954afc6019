"""A picture for each logger that can show one: TensorBoard's, that of Weights & Biases, and MLflow's."""

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import MLFlowLogger, TensorBoardLogger, WandbLogger

from emotion_lightning.data.images import sheet
from emotion_lightning.data.images.sheet import Picture


def shows_pictures(trainer: Trainer) -> bool:
    """Whether any logger of ``trainer`` shows pictures."""
    return any(isinstance(logger, TensorBoardLogger | WandbLogger | MLFlowLogger) for logger in trainer.loggers)


def show(trainer: Trainer, tag: str, picture: Picture | None, step: int, title: str) -> None:
    """Hand a picture, if there is one, with its title above it to the loggers of the first rank."""
    if picture is None or not trainer.is_global_zero:
        return
    picture = sheet.titled(picture, title)
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image(tag, picture, step, dataformats="HWC")
        elif isinstance(logger, WandbLogger):
            logger.log_image(tag, [picture], step)
        elif isinstance(logger, MLFlowLogger):
            logger.experiment.log_image(logger.run_id, picture, key=tag, step=step)
