"""TensorBoard beyond scalars: grouped charts, pictures, texts, and the table in which runs are compared."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import yaml
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_info

from emotion_lightning.batch import IMAGENET, class_of, denormalize
from emotion_lightning.callbacks.checkpoint import run_checkpoint
from emotion_lightning.callbacks.data import data_of, validated_in_fit
from emotion_lightning.callbacks.metrics_writer import current_outputs
from emotion_lightning.callbacks.show import show, shows_pictures
from emotion_lightning.callbacks.tensorboard_layout import layout
from emotion_lightning.callbacks.tensorboard_logger import RunLogger
from emotion_lightning.data.audit.summary import summary
from emotion_lightning.data.images import sheet
from emotion_lightning.data.images.sheet import Picture
from emotion_lightning.errors import UsageError
from emotion_lightning.evaluation.classification_report import classification_report
from emotion_lightning.model.inputs import as_batch
from emotion_lightning.options import changes_learning, flatten
from emotion_lightning.report import pictures
from emotion_lightning.report.pictures import SHOWN
from emotion_lightning.runs.folder import log_dir
from emotion_lightning.runs.limited_yaml import load_mapping
from emotion_lightning.schedule import RECIPE_SCHEDULE, parse_schedule, trainable_stages

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

COMPARED = (
    *("seed_everything", "data.image_size", "data.batch_size", "data.balance", "ema.decay", "model.backbone"),
    *("model.dropout_rate", "model.lr_backbone", "model.lr_classifier", "model.mix_prob", "trainer.max_epochs"),
    "unfreeze.schedule",
)
"""Options in the table of runs: the few that decide, as it has a column for each; the text ``config`` has all."""


class TensorBoardImages(Callback):
    """Shows a run in TensorBoard, and its pictures in Weights & Biases and MLflow too; it changes nothing about it.

    At the start: the grouped charts, the configuration and the data audit. When a phase begins, as stages are unfrozen
    or augmentation changes: its first batch as the network sees it, and mixed by MixUp and by CutMix. Every few epochs,
    at the end of each phase of several epochs and of the run: confusion matrices, the most confident mistakes,
    Grad-CAM, precision-recall curves and the classification report. At the end: a few options with the scores of the
    best epoch, which :class:`RunCheckpoint` keeps. When the trainer that has trained then validates the best
    checkpoint, as the command line does, all of this once more under ``best``. Each picture says its epoch, counted
    from 1. In a list of callbacks it belongs after EMA.

    Args:
        every_n_epochs: Draw every so many epochs; 0 leaves out all pictures, curves and reports.
        schedule: The unfreezing schedule, as for ``Unfreeze``.

    Raises:
        UsageError: The number of epochs is negative, or the schedule is wrong.
    """

    def __init__(self, every_n_epochs: int = 5, schedule: dict[int, str] = RECIPE_SCHEDULE):
        if every_n_epochs < 0:
            raise UsageError(f"`tensorboard.every_n_epochs` {every_n_epochs} is negative")
        self.every_n_epochs, self.schedule = every_n_epochs, parse_schedule(schedule)
        self._options: dict[str, int | float | str] = {}
        self._undrawn: int | None = None  # step of a validation that was not drawn
        self._epoch = 0  # that was validated last, from 1
        self._fitted: list[Logger] = []  # loggers of a fit that is over

    @property
    def state_key(self) -> str:
        """Name under which version 0.1 saved a state; Lightning would warn that nobody takes it."""
        return "Dashboard"

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write what is known before training."""
        file, data = log_dir(trainer) / "config.yaml", data_of(trainer)  # asks all ranks
        config = file.read_text(encoding="utf-8") if file.is_file() else ""  # none for a run made from Python
        given = load_mapping(config, file) or {
            "model": pl_module.hparams,
            "data": {} if data is None else data.hparams,
        }
        self._options, self._fitted = _comparable(given | {"unfreeze": {"schedule": self.schedule}}), []
        audit = None if data is None else data.audit
        colors = any(isinstance(logger, RunLogger) for logger in trainer.loggers)
        for writer in _writers(trainer):
            writer.add_custom_scalars(layout(_names(pl_module), pl_module.device.type == "cuda", colors))
            writer.add_text("config", _block(config or yaml.safe_dump(self._options)), trainer.global_step)
            writer.add_text("data_audit", _block(summary(audit) if audit else "not audited"), trainer.global_step)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Show the first batch of a phase as it is, and mixed by each method that training uses."""
        due = batch_idx == 0 and self._begins_phase(trainer.current_epoch)
        if not due or not trainer.is_global_zero or not shows_pictures(trainer):
            return
        names, step, title = _names(pl_module), trainer.global_step, f"epoch {trainer.current_epoch + 1}, first batch"
        normalization = getattr(pl_module, "normalization", IMAGENET)
        # of any loader, as the model takes it
        images, labels, _ = as_batch(batch, 0, classes=len(names), normalization=normalization)
        images, labels = images[:SHOWN], class_of(labels[:SHOWN])
        seen = denormalize(images, normalization)
        captions = [names[label] for label in labels.tolist()]
        show(trainer, "view_training/batch", sheet.contact_sheet(seen, captions), step, title)
        mix: Any = pl_module.mix
        for other in ("cutmix_alpha", "mixup_alpha") if mix.prob else ():
            mixed, (first, second, weight, method) = replace(mix, prob=1.0, **{other: 0.0})(images, labels, seed=step)
            pairs = zip(first.tolist(), second.tolist(), strict=True)
            captions = [f"{weight:.2f} {names[a]}\n+ {1 - weight:.2f} {names[b]}" for a, b in pairs]
            if method != "none":
                seen = denormalize(mixed, normalization)
                show(trainer, f"view_training/{method}", sheet.contact_sheet(seen, captions), step, title)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw what the model knows by now, if it is time to, and what the best weights know when the fit is over."""
        checkpoint = run_checkpoint(trainer)
        if self._fitted and trainer.state.fn == "validate" and checkpoint:
            if self.every_n_epochs and str(trainer.ckpt_path) == checkpoint.best_model_path:
                self._draw_best(trainer, pl_module, f"best, epoch {checkpoint.best_epoch + 1}")
        elif validated_in_fit(trainer):
            self._undrawn, self._epoch = trainer.global_step, trainer.current_epoch + 1
            if trainer.is_last_batch and self._is_due(trainer):
                self._draw(trainer, pl_module, "epochs", f"epoch {self._epoch}")

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the last epoch of a run that was stopped early, if it was validated; the average is in the model."""
        if self._undrawn == trainer.global_step and self.every_n_epochs:
            self._draw(trainer, pl_module, "epochs", f"epoch {self._epoch}")

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the run into the table of runs, with the scores of the weights that it ends with."""
        self._fitted = list(trainer.loggers)
        checkpoint = run_checkpoint(trainer)
        if checkpoint is None or not checkpoint.best_metrics:
            return
        scores = {f"val_best/{name.split('/')[-1]}": value for name, value in checkpoint.best_metrics.items()}
        scores["val_best/epoch"] = checkpoint.best_epoch + 1.0
        # columns are in the order of their names, and those of scores come last
        options: dict[str, int | float | str] = {"best.f1_macro": round(checkpoint.best_score, 4)}
        options |= {name: self._options[name] for name in COMPARED if name in self._options}
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.log_hyperparams(options, scores, trainer.global_step - 1)

    def _begins_phase(self, epoch: int) -> bool:
        stages = (trainable_stages(self.schedule, each) for each in (epoch, max(epoch - 1, 0)))
        return self.every_n_epochs > 0 and (epoch == 0 or len(set(stages)) > 1)

    def _is_due(self, trainer: Trainer) -> bool:
        epoch, every = trainer.current_epoch, self.every_n_epochs
        ends_phase = self._begins_phase(epoch + 1) and not self._begins_phase(epoch)
        return every > 0 and ((epoch + 1) % every == 0 or epoch + 1 == trainer.max_epochs or ends_phase)

    def _draw_best(self, trainer: Trainer, pl_module: LightningModule, title: str) -> None:
        """Draw for the loggers of the fit, whatever those of the validation are."""
        loggers, trainer.loggers = trainer.loggers, self._fitted
        self._draw(trainer, pl_module, "best", title)
        for writer in _writers(trainer):
            writer.close()
        trainer.loggers = loggers

    def _draw(self, trainer: Trainer, pl_module: LightningModule, group: str, title: str) -> None:
        self._undrawn = None
        if not shows_pictures(trainer):
            return
        outputs = current_outputs(trainer, pl_module)  # asks all ranks
        if not trainer.is_global_zero:
            return
        names, step = _names(pl_module), trainer.global_step - 1  # where Lightning has the metrics of the epoch
        drawn: dict[str, Picture | None] = {
            "confusion_images": pictures.confusion(outputs, names, normalized=False),
            "confusion_share_of_true_class": pictures.confusion(outputs, names, normalized=True),
        }
        if data := data_of(trainer):
            drawn["confident_mistakes"] = pictures.mistakes(outputs, data.images, names)
            try:
                drawn["grad_cam"] = pictures.heat_maps(pl_module, outputs, data.images, names)
            except UsageError as error:  # of a backbone without stages; no reason to end a run
                rank_zero_info(f"No heat maps: {error}")
        for name, picture in drawn.items():
            show(trainer, f"view_{group}/{name}", picture, step, title)
        probabilities = outputs.probabilities.numpy()
        report = f"{title}\n\n{classification_report(outputs.confusion, names)}"
        for writer in _writers(trainer):
            for label, name in enumerate(names):
                writer.add_pr_curve(
                    f"pr_{group}/{name}", (outputs.labels == label).numpy(), probabilities[:, label], step
                )
            writer.add_text(f"classification_report/{group}", _block(report), step)


def _comparable(config: Mapping[str, Any]) -> dict[str, int | float | str]:
    """Options that change learning, by full name; what is no number is text, as a column of the table has one type."""
    options = {name: value for name, value in flatten(config) if changes_learning(name) and name != "data.class_names"}
    return {name: value if type(value) in (int, float) else str(value) for name, value in options.items()}


def _block(text: str) -> str:
    """Have ``text`` shown as it is, in fixed width."""
    return "\n".join(f"    {line}" for line in text.splitlines())


def _writers(trainer: Trainer) -> "list[SummaryWriter]":
    """The loggers' writers; none but on the first rank."""
    loggers = trainer.loggers if trainer.is_global_zero else []
    return [logger.experiment for logger in loggers if isinstance(logger, TensorBoardLogger)]


def _names(pl_module: LightningModule) -> list[str]:
    return list(pl_module.hparams["class_names"])
