"""Calibration: a temperature that makes probabilities honest, and a threshold below which the answer is uncertain."""

import os
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info

from emotion_lightning.callbacks.data import data_of
from emotion_lightning.callbacks.metrics_writer import current_outputs
from emotion_lightning.errors import DataError, UsageError
from emotion_lightning.evaluation.calibration import fit_temperature
from emotion_lightning.evaluation.outputs import EvalOutputs
from emotion_lightning.evaluation.selective import UNCERTAIN, choose_threshold, fewest_answers, risk_coverage_of
from emotion_lightning.model.module import EmotionClassifier
from emotion_lightning.runs.checkpoint_io import identity, update_checkpoint
from emotion_lightning.runs.config import load_checkpoint
from emotion_lightning.runs.files import ensure_writable
from emotion_lightning.runs.folder import pasted


class Calibration(Callback):
    """Makes probabilities honest by a temperature (Guo et al., 2017), and chooses which of them are enough to answer.

    The model's ``temperature`` is fitted after each validation within a fit, and with a ``precision`` its
    ``threshold`` is chosen then: by validation images that do not overlap with the training data, because the model is
    surer of those that do than of new ones; by all of them if that leaves none. The model saves both with its weights,
    and forgets them when they are trained further.

    ``validate`` chooses a threshold for the checkpoint that it measures and writes it into that file. Once a trainer
    has fitted, its checkpoints have theirs, and it writes none.

    Args:
        precision: Share of answers that are to be right, in (0, 1), such as 0.9. The lowest probability from which on
            they are is found on the validation split, and below it the answer is uncertain: by fit for each of its
            checkpoints, by validate for the one that it measures. By default every image is answered.

    Raises:
        UsageError: The precision is outside its range; with one, a class is named uncertain, or the validation is of a
            part of the split, of other data or with other test-time augmentation than the checkpoint's.
    """

    def __init__(self, precision: float | None = None):
        if precision is not None and not 0 < precision < 1:
            raise UsageError(f"`predict.precision` {precision} is not in (0, 1), such as 0.9")
        self.precision = precision
        self._measured: tuple[int, int, int] | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse a threshold that would be ambiguous, or chosen on a part of the images."""
        if stage in ("fit", "validate") and isinstance(pl_module, EmotionClassifier):
            self.check_fit(trainer, pl_module)
        self._measured = None

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Note which file it was loaded from, as a run that goes on may replace it while it is measured."""
        if self._chooses_for_checkpoint(trainer) and trainer.ckpt_path is not None:
            self._measured = identity(trainer.ckpt_path)

    def check_fit(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse a threshold beside a class of its name, or on a part of the validation split.

        Raises:
            UsageError: It is one.
        """
        if self.precision is None:
            return
        for name in pl_module.hparams["class_names"]:
            if name.lower() == UNCERTAIN:
                raise UsageError(
                    f"a class is named {name}, which is what `predict.precision` answers below its threshold: rename "
                    "the class by `merge_classes`, or leave the option out"
                )
        if _limited(trainer) and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            raise UsageError(
                "`predict.precision` needs the whole validation split, as the precision of a part says little about "
                "it: leave out `limit_val_batches` and `overfit_batches`"
            )

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Forget the temperature and the threshold of the weights that this step changes."""
        if isinstance(pl_module, EmotionClassifier):
            pl_module.temperature, pl_module.temperature_tta, pl_module.threshold = 1.0, None, None

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Before a checkpoint is measured, see that a threshold of these answers is one for it and can be written."""
        if not self._chooses_for_checkpoint(trainer) or not isinstance(pl_module, EmotionClassifier):
            return
        data, tta = data_of(trainer), pl_module.hparams["tta"]
        if data is not None and data.other:
            raise UsageError(
                "`predict.precision` chooses a threshold on the validation split of the checkpoint's own run, and this "
                "is other data: leave out `root` or `predict.precision`"
            )
        if (own := _own_tta(trainer, pl_module)) != tta:
            raise UsageError(
                f"`tta={tta}`: the checkpoint answers with `tta={own}`, for which `predict.precision` chooses a "
                "threshold; leave one of them out"
            )
        if trainer.ckpt_path is not None:
            file = Path(trainer.ckpt_path).resolve()
            advice = "`predict.precision` writes into the checkpoint: copy it to another folder"
            if not (file.stat().st_mode & 0o222 and os.access(file, os.W_OK)):  # root may write it all the same
                raise DataError(f"{trainer.ckpt_path} is read-only; {advice}, or make it writable")
            ensure_writable(file.parent, advice=advice)
            self._measured = self._measured or identity(file)  # one without the states of callbacks

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Fit the temperature and choose the threshold; checkpoints are saved later, at the end of the epoch."""
        if not isinstance(pl_module, EmotionClassifier):
            return
        if trainer.state.fn == "fit":
            outputs = _unseen(trainer, pl_module)
            pl_module.temperature = fit_temperature(outputs.logits, outputs.labels)
            pl_module.temperature_tta = pl_module.hparams["tta"]
            if self.precision is not None and not _limited(trainer):
                calibrated = outputs.scaled(pl_module.temperature)
                pl_module.threshold = choose_threshold(calibrated.probabilities, outputs.labels, self.precision)
        elif self.precision is not None and trainer.state.fn == "validate":
            calibrated = _unseen(trainer, pl_module).scaled(pl_module.temperature)
            if self._chooses_for_checkpoint(trainer):
                self._choose_for_checkpoint(trainer, pl_module, calibrated)
            elif pl_module.threshold is None:
                rank_zero_info(_none_message(calibrated, self.precision))

    def _chooses_for_checkpoint(self, trainer: Trainer) -> bool:
        return self.precision is not None and trainer.state.fn == "validate" and trainer.global_step == 0

    def _choose_for_checkpoint(self, trainer: Trainer, model: EmotionClassifier, calibrated: EvalOutputs) -> None:
        assert self.precision is not None
        found = choose_threshold(calibrated.probabilities, calibrated.labels, self.precision)
        if found is None:
            rank_zero_info(f"{_none_message(calibrated, self.precision)}; the checkpoint stays as it is")
            return
        before, model.threshold = model.threshold, found
        written = ""
        if trainer.ckpt_path is not None:
            replaced = "" if before is None else f" in place of {before.probability:.4f}"
            written = f"; written into {pasted(trainer.ckpt_path)}{replaced}"
            if trainer.is_global_zero:
                assert self._measured is not None  # noted before
                update_checkpoint(trainer.ckpt_path, "calibration", {"threshold": found._asdict()}, self._measured)
        rank_zero_info(
            f"Threshold: below a probability of {found.probability:.4f} the answer is uncertain; the others, to "
            f"{found.coverage:.1%} of {len(calibrated.labels):,} validation images, are right to "
            f"{found.precision:.4f}{written}"
        )


def _own_tta(trainer: Trainer, model: EmotionClassifier) -> str:
    """Test-time augmentation that the checkpoint which is measured predicts with."""
    if trainer.ckpt_path is None:
        return str(model.temperature_tta or model.hparams["tta"])
    return str(load_checkpoint(str(trainer.ckpt_path))["hyper_parameters"]["tta"])


def _limited(trainer: Trainer) -> bool:
    """Whether a part of the validation split is measured; 1 is one batch, 1.0 all of them."""
    limit = trainer.limit_val_batches
    return isinstance(limit, int) or limit < 1


def _unseen(trainer: Trainer, pl_module: LightningModule) -> EvalOutputs:
    """Outputs for the validation images without a copy in the training data; for all if there are none."""
    outputs, data = current_outputs(trainer, pl_module), data_of(trainer)  # asks all ranks
    overlap = None if data is None else data.exposure.overlap_mask("val")
    if overlap is None or overlap[outputs.indices].all():
        return outputs
    return outputs.where(~overlap[outputs.indices])


def _none_message(calibrated: EvalOutputs, precision: float) -> str:
    """Say that no threshold has the precision, and what the best has."""
    fewest, found = fewest_answers(precision), risk_coverage_of(calibrated.probabilities, calibrated.labels)
    reached = found.precision[found.answers >= fewest].tolist()
    return (
        f"No threshold: of {len(calibrated.labels):,} validation images, no {fewest:,} or more are answered with a "
        f"precision of {precision:g}" + (f"; the best reached is {max(reached):.4f}" if reached else "")
    )
