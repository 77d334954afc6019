"""The loss of single training steps, read without waiting for the device."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.types import STEP_OUTPUT
from torch import Tensor


class StepLoss(Callback):
    """Logs the loss of every ``log_every_n_steps``-th step as ``train/loss_step``; ``ProgressBar`` shows the last one.

    On a GPU a loss is copied while the device works on, and read when it has arrived, in one of the steps that follow.
    """

    def __init__(self) -> None:
        self.latest: float | None = None
        self._step = 0
        self._copied: tuple[Tensor, torch.Event | None, int] | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Go on behind the steps of a checkpoint."""
        self.latest, self._step, self._copied = None, trainer.global_step, None

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: STEP_OUTPUT, batch: Any, batch_idx: int
    ) -> None:
        """Copy the loss of a step that is to be logged, and read what has arrived."""
        every, step = trainer.log_every_n_steps, trainer.global_step  # type: ignore[attr-defined]
        if every and step != self._step and step % every == 0 and isinstance(outputs, dict):
            self._read(trainer, wait=True)
            loss = outputs["loss"] * trainer.accumulate_grad_batches  # Lightning has divided it
            self._copied = (*_to_host(loss), step - 1)  # where Lightning has the figures of a step
        self._step = step
        self._read(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Read what is left."""
        self._read(trainer, wait=True)

    def _read(self, trainer: Trainer, wait: bool = False) -> None:
        if self._copied is None:
            return
        loss, arrival, step = self._copied
        if arrival is not None and not arrival.query():
            if not wait:
                return
            arrival.synchronize()
        self.latest, self._copied = loss.item(), None
        for logger in trainer.loggers:
            logger.log_metrics({"train/loss_step": self.latest}, step)


def _to_host(value: Tensor) -> tuple[Tensor, torch.Event | None]:
    """Copy ``value`` to the host, with the event behind which the copy has its content."""
    if value.device.type == "cpu":
        return value, None
    copy, arrival = value.to("cpu", non_blocking=True), torch.Event(value.device)
    arrival.record()
    return copy, arrival
