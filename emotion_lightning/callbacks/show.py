"""A picture for each logger that can show one: TensorBoard's, that of Weights & Biases, and MLflow's."""

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import MLFlowLogger, TensorBoardLogger, WandbLogger

from emotion_lightning.data.images.sheet import Picture


def shows_pictures(trainer: Trainer) -> bool:
    """Whether any logger of ``trainer`` shows pictures."""
    return any(isinstance(logger, TensorBoardLogger | WandbLogger | MLFlowLogger) for logger in trainer.loggers)


def show(trainer: Trainer, tag: str, picture: Picture | None, step: int) -> None:
    """Hand a picture, if there is one, to the loggers of the first rank."""
    for logger in trainer.loggers if trainer.is_global_zero and picture is not None else []:
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image(tag, picture, step, dataformats="HWC")
        elif isinstance(logger, WandbLogger):
            logger.log_image(tag, [picture], step)
        elif isinstance(logger, MLFlowLogger):
            logger.experiment.log_image(logger.run_id, picture, key=tag, step=step)
