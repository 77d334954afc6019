"""Disk space: whether there is room for what a run will write, said before its first epoch."""

from collections.abc import Iterable
from functools import partial

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from emotion_lightning.callbacks.checkpoint import LAST, RunCheckpoint, run_checkpoint
from emotion_lightning.callbacks.ema import EMA
from emotion_lightning.errors import DataError
from emotion_lightning.runs.files import free_bytes
from emotion_lightning.runtime.ranks import on_first_rank

ALL_ELSE = 64 * 2**20
"""Bytes that curves, pictures, predictions and reports of a run usually take at most."""


class DiskSpace(Callback):
    """Compares the free space with what the run's checkpoints and reports will take; without checkpoints, not at all.

    Raises:
        DataError: Not even one checkpoint fits, with the temporary file that the next one is written to.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look when the folder, the optimizer and the stages that train are known."""
        saver = run_checkpoint(trainer)
        if saver is not None and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            on_first_rank(trainer, partial(_check, trainer, pl_module, saver))


def checkpoint_bytes(trainer: Trainer, pl_module: LightningModule, every_stage: bool = True) -> int:
    """Bytes of a checkpoint: weights, their average and AdamW's moments.

    Args:
        trainer: The run's trainer, once training starts.
        pl_module: Its model.
        every_stage: Whether all stages train by then, or only those that train now.
    """
    averages = [value for each in trainer.callbacks if isinstance(each, EMA) for value in each.average.values()]  # type: ignore[attr-defined]
    parameters = [p for optimizer in trainer.optimizers for group in optimizer.param_groups for p in group["params"]]
    moments = [p for p in parameters if p.requires_grad or every_stage]
    return _bytes(pl_module.state_dict().values()) + _bytes(averages) + 2 * _bytes(moments)


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _check(trainer: Trainer, pl_module: LightningModule, saver: RunCheckpoint) -> None:
    names = ["best.ckpt", LAST, *(f"epoch_{epoch:03d}.ckpt" for epoch in _kept_epochs(trainer, saver.every_n_epochs))]
    new = sum(not (saver.folder / name).exists() for name in names)
    first, later = (checkpoint_bytes(trainer, pl_module, every_stage) for every_stage in (False, True))
    free = free_bytes(saver.folder)
    if free < first * (1 + (not (saver.folder / LAST).exists())):
        raise DataError(
            f"{saver.folder}: {_size(free)} are free, and not even one checkpoint of {_size(first)} fits with the "
            "temporary file of the next: free space, or choose another folder by `default_root_dir`"
        )
    if free < (needed := later * (new + 1) + ALL_ELSE):
        rank_zero_warn(
            f"{saver.folder}: {_size(free)} are free, and the run will write up to {_size(needed)}, {new} checkpoints "
            f"of {_size(later)} among them: free space, or keep fewer by `checkpoint.every_n_epochs`, or a full disk "
            "may end it"
        )


def _kept_epochs(trainer: Trainer, every: int) -> list[int]:
    """Epochs from now on whose checkpoints stay."""
    end = trainer.max_epochs or 0
    if end < 0:  # the run ends by its steps
        end = -(-int(trainer.max_steps) * trainer.accumulate_grad_batches // int(trainer.num_training_batches))
    return [epoch for epoch in range(trainer.current_epoch, end) if every and (epoch + 1) % every == 0]


def _size(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
