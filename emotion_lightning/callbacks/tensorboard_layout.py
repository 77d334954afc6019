"""Which scalars TensorBoard draws into one chart, on its page of custom scalars."""

import re
from collections.abc import Sequence

from emotion_lightning.schedule import STAGES

Layout = dict[str, dict[str, list[str | list[str]]]]
"""Charts by category and title, as ``SummaryWriter.add_custom_scalars`` takes them."""


def layout(class_names: Sequence[str], cuda: bool) -> Layout:
    """Group the scalars that the model and the recipe's callbacks log.

    Args:
        class_names: Names of the emotions.
        cuda: The run is on a GPU, whose memory is logged.
    """
    f1 = [f"f1_{name}" for name in class_names]
    costs = {
        "seconds per epoch": ["train/epoch_seconds", "val/epoch_seconds"],
        "images per second": ["train/images_per_second", "val/images_per_second"],
    }
    memory = {"peak memory in GB": ["train/peak_memory_gb"]}
    charts = {
        "scores": {
            "loss": ["train/loss", "val/loss"],
            "accuracy": ["train/accuracy_dominant", "val/accuracy"],
            "macro F1": ["train/f1_macro_dominant", "val/f1_macro"],
        },
        "F1 of each class": {
            "validation": [f"val_per_class/{name}" for name in f1],
            "training": [f"train_per_class/{name}_dominant" for name in f1],
        },
        "optimization": {
            "learning rate of each stage": [f"lr/{stage}" for stage in STAGES],
            "gradient norm before clipping": ["train/gradient_norm"],
            "trainable stages and augmentation phase": ["schedule/trainable_stages", "schedule/augmentation_phase"],
        },
        "cost": costs | memory if cuda else costs,
    }
    return {
        category: {title: ["Multiline", [f"^{re.escape(tag)}$" for tag in tags]] for title, tags in titles.items()}
        for category, titles in charts.items()
    }
