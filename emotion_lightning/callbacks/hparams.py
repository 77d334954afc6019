"""What sets a run apart from others, by the names of the command line."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from emotion_lightning.callbacks.data import data_of
from emotion_lightning.callbacks.early_stopping import EarlyStopping
from emotion_lightning.callbacks.ema import EMA
from emotion_lightning.callbacks.unfreeze import Unfreeze
from emotion_lightning.options import changes_learning


def compared_options(trainer: Trainer, pl_module: LightningModule) -> dict[str, int | float | str]:
    """Name the options that change what is learnt; the names are the same for every run.

    What is no number is text: TensorBoard's table has one type for each column.
    """
    data = data_of(trainer)
    options = {f"model.{name}": value for name, value in pl_module.hparams.items()}
    options |= {} if data is None else {f"data.{name}": value for name, value in data.hparams.items()}
    options |= _of_callbacks(trainer.callbacks)  # type: ignore[attr-defined]
    options |= {
        "seed_everything": pl_module.hparams["seed"],
        "trainer.max_epochs": trainer.max_epochs,
        "trainer.precision": trainer.precision,
        "trainer.gradient_clip_val": trainer.gradient_clip_val or 0.0,
        "trainer.accumulate_grad_batches": trainer.accumulate_grad_batches,
    }
    return {
        name: _plain(value) for name, value in options.items() if changes_learning(name) and name != "data.class_names"
    }


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
