"""Calibration: the temperature that makes a model's probabilities honest, fitted while it is trained."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from emotion_lightning.callbacks.data import data_of
from emotion_lightning.callbacks.metrics_writer import current_outputs
from emotion_lightning.evaluation.calibration import fit_temperature
from emotion_lightning.evaluation.outputs import EvalOutputs
from emotion_lightning.model.module import EmotionClassifier


class Calibration(Callback):
    """Fits the model's ``temperature`` (Guo et al., 2017) after each validation within a fit.

    It is fitted to validation images that do not overlap with the training data, because the model is surer of those
    that do than of new ones; to all of them if that leaves none. The model saves it with its weights, and forgets it
    when they are trained further.
    """

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Forget the temperature of the weights that this step changes."""
        if isinstance(pl_module, EmotionClassifier):
            pl_module.temperature, pl_module.temperature_tta = 1.0, None

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Fit the temperature; checkpoints are saved later, at the end of the epoch."""
        if trainer.state.fn != "fit" or not isinstance(pl_module, EmotionClassifier):
            return
        outputs, data = current_outputs(trainer, pl_module), data_of(trainer)
        overlap = None if data is None else data.exposure.overlap_mask("val")
        if overlap is not None and not overlap[outputs.indices].all():
            outputs = EvalOutputs(*(values[~overlap[outputs.indices]] for values in outputs))
        pl_module.temperature = fit_temperature(outputs.logits, outputs.labels)
        pl_module.temperature_tta = pl_module.hparams["tta"]
