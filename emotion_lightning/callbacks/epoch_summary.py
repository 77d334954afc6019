"""One line for each epoch, for logs and terminals without a progress bar."""

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info


class EpochSummary(Callback):
    """Prints the validation metrics of each epoch where no progress bar shows them."""

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the line."""
        metrics = trainer.callback_metrics
        if trainer.progress_bar_callback is not None or "val/loss" not in metrics:
            return
        named = {"loss": "val/loss", "accuracy": "val/accuracy", "macro F1": "val/f1_macro"}
        text = ", ".join(f"{name} {float(metrics[key]):.4f}" for name, key in named.items())
        rank_zero_info(f"Epoch {trainer.current_epoch}: validation {text}")
