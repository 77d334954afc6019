"""Progressive unfreezing (Howard and Ruder, 2018) as data: which stages train is a function of the epoch."""

from collections.abc import Iterable
from typing import Literal, Protocol, cast

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import BaseFinetuning
from lightning.pytorch.utilities import rank_zero_info
from torch.nn.parallel import DistributedDataParallel

from emotion_lightning.callbacks.data import data_of
from emotion_lightning.callbacks.rivals import refuse_rivals
from emotion_lightning.errors import UsageError
from emotion_lightning.model.backbone import BatchNorm
from emotion_lightning.schedule import (
    RECIPE_EPOCHS,
    RECIPE_SCHEDULE,
    augmentation_phase,
    in_epochs,
    named_stages,
    parse_schedule,
    trainable_stages,
    training_resolution,
    warn_unreached,
)


class Staged(Protocol):
    """A model whose stages can be told to train."""

    def set_trainable(self, stages: Iterable[str]) -> None:
        """Let exactly ``stages`` train."""


class Unfreeze(Callback):
    """Unfreezes the network stage by stage; a frozen stage keeps its weights and BatchNorm statistics to the bit.

    Nothing is frozen before the model is wrapped for several devices, and nothing about the optimizer changes: all
    stages are in it from step 0.

    Args:
        schedule: Epoch (from 0) to the lowest stage that trains from then on. Stages: classifier (or
            classifier_only), layer4, layer3, layer2, layer1, stem (or all, all_layers); each means it and all above.
            Instead of epochs, parts of the run such as {0: classifier_only, 0.125: layer4, 0.5: all}; or scaled, the
            recipe's schedule in proportion to max_epochs.

    Raises:
        UsageError: An unknown stage, no entry for epoch 0, or an entry that freezes again.
    """

    def __init__(self, schedule: dict[float, str] | Literal["scaled"] = RECIPE_SCHEDULE):
        self._given = schedule
        self.schedule = parse_schedule(in_epochs(schedule, RECIPE_EPOCHS))

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Check that schedule, model and strategy go together before anything is trained."""
        if stage == "fit":
            self.schedule = parse_schedule(in_epochs(self._given, trainer.max_epochs))
            self.check_fit(trainer, pl_module)
            warn_unreached("schedule", self.schedule, trainer)

    def check_fit(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse what cannot go with the schedule.

        Raises:
            UsageError: The model has no stages, or another callback freezes and unfreezes them.
        """
        for other in (Unfreeze, BaseFinetuning):
            refuse_rivals(self, trainer, other, "`unfreeze.schedule`")
        if not hasattr(pl_module, "set_trainable"):
            raise UsageError(f"{type(pl_module).__name__} has no stages to unfreeze")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Apply the epoch that a resumed run continues with, under a strategy that follows later unfreezings."""
        wrapped = trainer.model
        if isinstance(wrapped, DistributedDataParallel) and (
            not wrapped.find_unused_parameters or wrapped.static_graph
        ):
            raise UsageError(
                "stages unfrozen later need `strategy=ddp_find_unused_parameters_true` (without static_graph)"
            )
        self._apply(trainer, pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Apply the epoch's stages, and say so when they change."""
        stages = self._apply(trainer, pl_module)
        if trainer.current_epoch in self.schedule:
            counts = [(p.numel(), p.requires_grad) for p in pl_module.parameters()]
            trainable, total = (sum(n for n, trains in counts if trains or every) / 1e6 for every in (False, True))
            kept = ", BatchNorm frozen" if _has_frozen_batch_norm(pl_module) else ""
            rank_zero_info(
                f"Epoch {trainer.current_epoch + 1}: training {named_stages(stages)} "
                f"({trainable:.2f} of {total:.2f} M parameters{kept})"
            )

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log what the epoch was; here, as a run that is resumed within an epoch does not see its start."""
        pl_module.log("schedule/trainable_stages", float(len(trainable_stages(self.schedule, trainer.current_epoch))))
        if data := data_of(trainer):
            phase = augmentation_phase(trainer.current_epoch, data.unfreeze_epoch, data.augmentation)
            pl_module.log("schedule/augmentation_phase", float(phase))
            side = training_resolution(data.resolutions, trainer.current_epoch)
            pl_module.log("schedule/image_side", float(side))

    def _apply(self, trainer: Trainer, pl_module: LightningModule) -> tuple[str, ...]:
        stages = trainable_stages(self.schedule, trainer.current_epoch)
        cast(Staged, pl_module).set_trainable(stages)
        return stages


def _has_frozen_batch_norm(model: LightningModule) -> bool:
    """Say whether BatchNorm in a stage that trains keeps its statistics."""
    frozen = [module for module in model.modules() if isinstance(module, BatchNorm) and not module.training]
    return any(parameter.requires_grad for norm in frozen for parameter in norm.parameters())
