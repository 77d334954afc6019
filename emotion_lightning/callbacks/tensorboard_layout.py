"""The order of scalars in TensorBoard, and which it draws into one chart on its page of custom scalars."""

import re
from collections.abc import Sequence

from emotion_lightning.schedule import STAGES

Layout = dict[str, dict[str, list[str | list[str]]]]
"""Charts by category and title, as ``SummaryWriter.add_custom_scalars`` takes them."""


CURVES = {
    "loss": {"train": "train/loss", "val": "val/loss"},
    "accuracy": {"train": "train/accuracy_dominant", "val": "val/accuracy"},
    "f1_macro": {"train": "train/f1_macro_dominant", "val": "val/f1_macro"},
}
"""What decides, with the scalar of each split. TensorBoard gives a color to a run and none to a scalar, so that
``RunLogger`` writes these once more as ``curves/loss`` and so on, by a run below the run for each split."""

LATER = {
    "lr/": "curves/lr_",
    "schedule/": "train_schedule/",
    "ema/": "train_schedule/ema_",
    "epoch": "train_schedule/epoch",
}
"""Beginnings of names, and what is put in their place: TensorBoard sorts groups and opens the first two."""


def shown(name: str) -> str:
    """Name of a scalar in TensorBoard."""
    return next((new + name.removeprefix(old) for old, new in LATER.items() if name.startswith(old)), name)


def layout(class_names: Sequence[str], cuda: bool, colors: bool) -> Layout:
    """Group the scalars that the model and the recipe's callbacks log.

    Args:
        class_names: Names of the emotions.
        cuda: The run is on a GPU, whose memory is logged.
        colors: The logger is a ``RunLogger``, which writes what decides with a color for each split.
    """
    f1 = [f"f1_{name}" for name in class_names]
    costs = {
        "seconds per epoch": ["train/epoch_seconds", "val/epoch_seconds"],
        "images per second": ["train/images_per_second", "val/images_per_second"],
    }
    memory = {"peak memory in GB": ["train/peak_memory_gb"]}
    charts = {
        "scores": {
            title.replace("f1_macro", "macro F1"): [f"curves/{title}"] if colors else list(names.values())
            for title, names in CURVES.items()
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
        category: {title: ["Multiline", [_pattern(tag) for tag in tags]] for title, tags in titles.items()}
        for category, titles in charts.items()
    }


def _pattern(name: str) -> str:
    """Match a scalar as it is logged, or as ``RunLogger`` names it."""
    return f"^({'|'.join(re.escape(each) for each in dict.fromkeys((name, shown(name))))})$"
