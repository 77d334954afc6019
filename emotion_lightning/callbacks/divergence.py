"""Divergence: a loss, gradient or weight that is not finite ends the run, before it spoils what the run has kept."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from math import isfinite
from typing import Any, NoReturn

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.types import STEP_OUTPUT
from torch import Tensor

from emotion_lightning.callbacks.checkpoint import LAST, run_checkpoint
from emotion_lightning.callbacks.data import data_of, validated_in_fit
from emotion_lightning.callbacks.ema import RAW
from emotion_lightning.errors import DataError, DivergenceError, on_one_line
from emotion_lightning.model.finite import all_finite
from emotion_lightning.runs.files import write_json
from emotion_lightning.runs.folder import log_dir, pasted
from emotion_lightning.runtime.ranks import of_each_rank

READ_AT_ONCE = "cpu"
"""Type of the device whose numbers are read after each batch; reading them elsewhere waits for the device."""

EVERY = 10
"""Batches after which the numbers of any other device are read."""

SKIPPED = 25
"""Steps in a row that a scaler may not skip: by then its scale has gone down from 65536 to 0.002."""

SHOWN = 3
"""Files of the batch that a message names; all are in a file."""

DIVERGED = "diverged.json"
"""File in the folder of a run that says of which step and batch the numbers were, and all files of the batch."""


@dataclass(frozen=True)
class Taken:
    """A batch that was trained on, and the numbers that came of it, on the device.

    Attributes:
        epoch: From 0.
        batch: From 0 in the epoch.
        step: Optimizer step that it is a part of, from 1 in the run.
        stepped: Whether the step ended with it.
        numbers: Its loss, and the norm of the gradients of the step where it ended and the model says it, else 0.
        positions: Of its images in the data; None of another kind of data.
    """

    epoch: int
    batch: int
    step: int
    stepped: bool
    numbers: tuple[Tensor, Tensor]
    positions: Tensor | None


class Divergence(Callback):
    """Ends a run whose loss, gradients or weights are no longer finite, and keeps them out of every checkpoint.

    On a CPU the run ends with the step, elsewhere within 10 batches, as the device is not waited for in each. Steps
    that mixed precision's scaler skips, because gradients overflowed at its scale, count from 25 in a row on. In a list
    of callbacks it belongs after EMA.

    Raises:
        DivergenceError: The message names epoch, step and files, and what to try.
    """

    def __init__(self) -> None:
        self._taken: list[Taken] = []
        self._step = self._skipped = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget an earlier fit."""
        self._taken, self._step, self._skipped = [], trainer.global_step, 0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: STEP_OUTPUT, batch: Any, batch_idx: int
    ) -> None:
        """Note the numbers of the batch, and look at them where that waits for nothing or it is time to."""
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        if loss is None:  # the model skipped the batch
            return
        stepped, self._step = trainer.global_step != self._step, trainer.global_step
        norm = getattr(pl_module, "last_gradient_norm", None) if stepped else None
        numbers = (loss.detach(), torch.zeros_like(loss) if norm is None else norm)
        positions = batch[2] if data_of(trainer) else None
        self._taken.append(
            Taken(trainer.current_epoch, batch_idx, self._step + (not stepped), stepped, numbers, positions)
        )
        if loss.device.type == READ_AT_ONCE or len(self._taken) >= EVERY:
            self._look(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at what was trained, before it is measured."""
        self._look(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """See that the model gave numbers for all images."""
        loss = trainer.callback_metrics.get("val/loss")
        if validated_in_fit(trainer) and loss is not None and not loss.isfinite():
            _stop(trainer, trainer.current_epoch, f"after step {trainer.global_step}: the validation loss is {loss}")

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Refuse to save weights that are not finite in place of those that are."""
        self._look(trainer)
        finite = all_finite([*checkpoint["state_dict"].values(), *checkpoint.get(RAW, {}).values()])
        if not trainer.strategy.reduce(finite.int(), reduce_op="min"):
            _stop(trainer, trainer.current_epoch, f"at step {trainer.global_step}: the weights are not finite")

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at the last batches of a run without validation and checkpoints."""
        self._look(trainer)

    def _look(self, trainer: Trainer) -> None:
        """Read the numbers of the batches since the last look; all ranks see the same of them."""
        taken, self._taken = self._taken, []
        if not taken:
            return
        numbers = torch.stack([number.float() for each in taken for number in each.numbers])
        broken = trainer.strategy.reduce((~numbers.isfinite()).int(), reduce_op="max").view(-1, 2).tolist()
        scaled = getattr(trainer.precision_plugin, "scaler", None) is not None
        for each, (no_loss, no_norm) in zip(taken, broken, strict=True):
            if each.stepped:
                self._skipped = self._skipped + 1 if no_norm else 0
            if no_loss:
                _stop_at(trainer, each, each.numbers[0], "the loss is")
            if no_norm and (not scaled or self._skipped >= SKIPPED):
                row = f"the {self._skipped}th step in a row, " if scaled else ""
                _stop_at(trainer, each, each.numbers[1], f"{row}the norm of the gradients is")


def _stop_at(trainer: Trainer, taken: Taken, number: Tensor, what: str) -> NoReturn:
    """End the run at a batch; the files are those of the ranks whose number is not finite."""
    data, positions = data_of(trainer), [] if taken.positions is None else taken.positions.tolist()
    names = [] if data is None else [data.manifest.names[position] for position in positions]
    found = [each for each in of_each_rank(trainer, (number.item(), names)) if not isfinite(each[0])]
    files = [name for _, of_rank in found for name in of_rank]
    file = log_dir(trainer) / DIVERGED
    more = f" and {len(files) - SHOWN} more ({pasted(file)})" if len(files) > SHOWN else ""
    facts = {"epoch": taken.epoch, "batch": taken.batch, "step": taken.step, "found": f"{what} {found[0][0]}"}
    if trainer.is_global_zero and not trainer.fast_dev_run:  # type: ignore[attr-defined]
        with suppress(DataError):  # the message says what matters
            write_json(file, facts | {"files": files})
    batch = f"{', '.join(map(on_one_line, files[:SHOWN]))}{more}" if files else f"batch {taken.batch}"
    _stop(trainer, taken.epoch, f"at step {taken.step}: {facts['found']}, of {batch}")


def _stop(trainer: Trainer, epoch: int, what: str) -> NoReturn:
    checkpoint = run_checkpoint(trainer)
    last = None if checkpoint is None else checkpoint.folder / LAST
    kept = f"; {pasted(last)} is from before" if last is not None and last.is_file() else ""
    raise DivergenceError(
        f"training diverged in epoch {epoch + 1} {what}{kept}. Try a lower `lr_classifier` and `lr_backbone`, "
        "`precision=bf16-mixed` or `precision=32-true`, and look at the images if they are the same ones again"
    )
