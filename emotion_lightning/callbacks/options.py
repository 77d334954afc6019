"""What sets a run apart from others, by the names of the command line."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from emotion_lightning.callbacks.early_stopping import EarlyStopping
from emotion_lightning.callbacks.ema import EMA
from emotion_lightning.callbacks.unfreeze import Unfreeze

LEFT_OUT = (
    "model.class_names",  # too long for a table
    *("model.seed", "data.finetune_epoch"),  # these follow from other options
    # and these change nothing that is learnt
    "model.compile",
    *(
        "data.eval_batch_size",
        "data.num_workers",
        "data.cache_gb",
        "data.format",
        "data.splits",
        "data.test_split",
        "data.unreadable",
    ),
)


def compared_options(trainer: Trainer, pl_module: LightningModule) -> dict[str, int | float | str]:
    """Name the options of model, data, callbacks and trainer; the names are the same for every run.

    What is no number is text: TensorBoard's table has one type for each column.
    """
    data = getattr(getattr(trainer, "datamodule", None), "hparams", {})
    options = {f"model.{name}": value for name, value in pl_module.hparams.items()}
    options |= {f"data.{name}": value for name, value in data.items()}
    options |= _of_callbacks(trainer.callbacks)  # type: ignore[attr-defined]
    options |= {
        "trainer.max_epochs": trainer.max_epochs,
        "trainer.precision": trainer.precision,
        "trainer.gradient_clip_val": trainer.gradient_clip_val or 0.0,
        "trainer.accumulate_grad_batches": trainer.accumulate_grad_batches,
        "trainer.devices": trainer.world_size,
    }
    return {name: _plain(value) for name, value in options.items() if name not in LEFT_OUT}


def _of_callbacks(callbacks: list[Callback]) -> dict[str, Any]:
    options: dict[str, Any] = {"unfreeze.schedule": None, "ema.decay": 0.0, "early_stopping.patience": None}
    for callback in callbacks:
        if isinstance(callback, Unfreeze):
            options["unfreeze.schedule"] = callback.schedule
        elif isinstance(callback, EMA):
            options["ema.decay"] = callback.decay
        elif isinstance(callback, EarlyStopping):
            options["early_stopping.patience"] = callback.patience
    return options


def _plain(value: Any) -> int | float | str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    return str(value).lower() if isinstance(value, bool | None) else str(value)
