"""TensorBoard beyond single figures: grouped charts, pictures, texts, and the table in which runs compare."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from emotion_lightning.callbacks import tensorboard_text as text
from emotion_lightning.callbacks.data import data_of
from emotion_lightning.callbacks.hparams import compared_options
from emotion_lightning.callbacks.image_summary import image_summary
from emotion_lightning.callbacks.metrics_writer import current_outputs
from emotion_lightning.callbacks.tensorboard_layout import layout
from emotion_lightning.callbacks.unfreeze import Unfreeze
from emotion_lightning.errors import UsageError
from emotion_lightning.evaluation.classification_report import classification_report
from emotion_lightning.evaluation.metrics import MONITOR
from emotion_lightning.evaluation.outputs import EvalOutputs
from emotion_lightning.model.mix import MixedLabels
from emotion_lightning.report import pictures
from emotion_lightning.report.contact_sheet import Picture
from emotion_lightning.runs.folder import log_dir
from emotion_lightning.schedule import STAGES, augmentation_phase, trainable_stages

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

MIXED_WITHIN = 50
"""Batches of a phase that are looked at until one of MixUp and one of CutMix are found."""

Mix = Callable[[Tensor, Tensor, int], tuple[Tensor, MixedLabels]]
SCORES = ("val/accuracy", MONITOR, "val/loss")


class TensorBoardImages(Callback):
    """Shows a run in TensorBoard, and changes nothing about it; without a TensorBoardLogger it does nothing.

    At the start: the grouped charts, the configuration and the data audit. When a phase begins, as stages are unfrozen
    or augmentation changes: a batch as the network sees it, and mixed images with their labels. Every few epochs, at
    the end of each phase of several epochs and of the run: confusion matrices, the most confident mistakes, Grad-CAM,
    precision-recall curves and the classification report. At the end: the options with the scores of the best epoch.
    In a list of callbacks it belongs behind EMA.

    Args:
        every_n_epochs: Draw every so many epochs; 0 leaves out all pictures, curves and reports.

    Raises:
        UsageError: The number of epochs is negative.
    """

    def __init__(self, every_n_epochs: int = 5):
        if every_n_epochs < 0:
            raise UsageError(f"`tensorboard.every_n_epochs` {every_n_epochs} is negative")
        self.every_n_epochs = every_n_epochs
        self.best: dict[str, float] = {}
        self._to_mix: set[str] = set()
        self._undrawn = False

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write what is known before training."""
        file, step = log_dir(trainer) / "config.yaml", trainer.global_step  # asks all ranks
        for writer in _writers(trainer):
            writer.add_custom_scalars(layout(_names(pl_module), pl_module.device.type == "cuda"))
            writer.add_text("config", text.configuration(file, compared_options(trainer, pl_module)), step)
            writer.add_text("data_audit", text.data_audit(data_of(trainer)), step)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Show the first batch of a phase, and its first mixed ones."""
        if batch_idx == 0:
            self._to_mix = {"mixup", "cutmix"} if self._begins_phase(trainer) and _writers(trainer) else set()
            if self._to_mix:
                _show(
                    trainer,
                    "batch/as_seen",
                    pictures.batch_as_seen(batch[0], batch[1], _names(pl_module)),
                    trainer.global_step,
                )
        if self._to_mix and batch_idx < MIXED_WITHIN:
            (images, labels), mix = batch[:2], cast(Mix, pl_module.mixed)
            if mix(images[..., :1, :1], labels, batch_idx)[1].method in self._to_mix:  # a pixel tells, at no cost
                images, mixed = mix(images, labels, batch_idx)
                self._to_mix.remove(mixed.method)
                picture = pictures.mixed_batch(images, mixed, _names(pl_module))
                _show(trainer, f"batch/{mixed.method}", picture, trainer.global_step)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw what the model knows by now, if it is time to."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking and trainer.is_last_batch:
            self._undrawn = True
            if self._is_due(trainer):
                self._draw(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the scores of the best epoch."""
        figures = trainer.callback_metrics
        if MONITOR in figures and float(figures[MONITOR]) > self.best.get("val_f1_macro", float("-inf")):
            self.best = {name.replace("/", "_"): float(figures[name]) for name in SCORES}
            self.best["best_epoch"] = float(trainer.current_epoch)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the last epoch of a run that was stopped early; the average of EMA is in the model."""
        if self._undrawn and self.every_n_epochs:
            self._draw(trainer, pl_module)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the run into the table of runs, with the scores of the weights that it ends with."""
        if not self.best:
            return
        scores = {f"score/{name}": value for name, value in self.best.items()}
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.log_hyperparams(compared_options(trainer, pl_module), scores, trainer.global_step - 1)

    def state_dict(self) -> dict[str, Any]:
        """Save the scores of the best epoch."""
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the scores of the best epoch."""
        self.best = dict(state_dict["best"])

    def _begins_phase(self, trainer: Trainer) -> bool:
        epoch = trainer.current_epoch
        return self.every_n_epochs > 0 and (epoch == 0 or _phase(trainer, epoch) != _phase(trainer, epoch - 1))

    def _is_due(self, trainer: Trainer) -> bool:
        epoch = trainer.current_epoch
        if self.every_n_epochs == 0:
            return False
        ends_phase = _phase(trainer, epoch) != _phase(trainer, epoch + 1) and not self._begins_phase(trainer)
        return (epoch + 1) % self.every_n_epochs == 0 or epoch + 1 == trainer.max_epochs or ends_phase

    def _draw(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._undrawn = False
        if not any(isinstance(logger, TensorBoardLogger) for logger in trainer.loggers):
            return
        outputs = current_outputs(trainer, pl_module)  # asks all ranks
        if not trainer.is_global_zero:
            return
        names, step = _names(pl_module), trainer.global_step - 1  # where Lightning has the figures of the epoch
        for normalized, tag in ((False, "confusion/images"), (True, "confusion/share_of_true_class")):
            _show(trainer, tag, pictures.confusion(outputs, names, normalized), step)
        if data := data_of(trainer):
            _show(trainer, "validation/confident_mistakes", pictures.mistakes(outputs, data.images, names), step)
            try:
                _show(trainer, "validation/grad_cam", pictures.heat_maps(pl_module, outputs, data.images, names), step)
            except UsageError as error:  # of a backbone without stages; no reason to end a run
                rank_zero_info(f"No heat maps: {error}")
        for writer in _writers(trainer):
            _write_curves(writer, outputs, names, step)
            report = classification_report(outputs.confusion, names)
            writer.add_text("classification_report", text.block(report), step)


def _write_curves(writer: "SummaryWriter", outputs: EvalOutputs, class_names: Sequence[str], step: int) -> None:
    probabilities = outputs.probabilities.numpy()
    for label, name in enumerate(class_names):
        writer.add_pr_curve(f"pr/{name}", (outputs.labels == label).numpy(), probabilities[:, label], step)


def _show(trainer: Trainer, tag: str, picture: Picture | None, step: int) -> None:
    if picture is not None:
        summary = image_summary(tag, picture)
        for writer in _writers(trainer):
            assert writer.file_writer is not None  # it was made with the writer
            writer.file_writer.add_summary(summary, step)


def _writers(trainer: Trainer) -> "list[SummaryWriter]":
    """What writes for TensorBoard; nothing but on the first rank."""
    loggers = trainer.loggers if trainer.is_global_zero else []
    return [logger.experiment for logger in loggers if isinstance(logger, TensorBoardLogger)]


def _names(pl_module: LightningModule) -> list[str]:
    return list(pl_module.hparams["class_names"])


def _phase(trainer: Trainer, epoch: int) -> tuple[tuple[str, ...], int]:
    """What is trained, and how images are augmented, in ``epoch``."""
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    schedule = next((callback.schedule for callback in callbacks if isinstance(callback, Unfreeze)), {0: STAGES[0]})
    data = data_of(trainer)
    return trainable_stages(schedule, epoch), augmentation_phase(epoch, data.unfreeze_epoch if data else None)
