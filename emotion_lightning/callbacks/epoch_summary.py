"""One line for each validation, for logs and terminals without a progress bar."""

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info

from emotion_lightning.callbacks.data import measured_part, validated_in_fit


class EpochSummary(Callback):
    """Prints the metrics of each validation within a fit where no progress bar shows them."""

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the line; it names the step where the epoch is not over."""
        metrics = trainer.callback_metrics
        if not validated_in_fit(trainer) or trainer.progress_bar_callback is not None or "val/loss" not in metrics:
            return
        named = {"loss": "val/loss", "accuracy": "val/accuracy", "macro F1": "val/f1_macro"}
        text = ", ".join(f"{name} {float(metrics[key]):.4f}" for name, key in named.items())
        present = metrics.get("val/f1_macro_present")
        text += measured_part(trainer, None if present is None else float(present))
        step = "" if trainer.is_last_batch else f", step {trainer.global_step}"
        rank_zero_info(f"Epoch {trainer.current_epoch}{step}: validation {text}")
