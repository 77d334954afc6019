"""Whether a long run holds on to memory or open files: a tiny network for many epochs, with all that a run does.

python -m benchmarks.soak [--epochs 200]

Memory is compared from the last unfreezing on, since each one needs more. Linux alone tells both.
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger

from benchmarks.drawn_faces import write_faces
from emotion_lightning.callbacks import default_callbacks
from emotion_lightning.data.datamodule import EmotionDataModule
from emotion_lightning.data.images.cache import CACHE_VARIABLE
from emotion_lightning.model.module import EmotionClassifier

SIDE, IMAGES = 32, 96
MOST = 1.0
"""Growth of memory in MB an epoch from which on something is held."""


class Sample(Callback):
    """Notes memory in MB and the number of open files at the end of each epoch."""

    def __init__(self) -> None:
        self.memory: list[float] = []
        self.files: list[int] = []

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Ask Linux for both."""
        pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
        self.memory.append(pages * os.sysconf("SC_PAGE_SIZE") / 1e6)
        self.files.append(len(os.listdir("/proc/self/fd")))


def soak(epochs: int, folder: Path) -> Sample:
    """Train for so many epochs, and return what was noted."""
    write_faces(folder / "faces", IMAGES, IMAGES)
    schedule = {0: "classifier", epochs // 10: "layer4", epochs // 5: "all"}
    data = EmotionDataModule(
        str(folder / "faces"), SIDE, batch_size=16, num_workers=1, unfreeze_epoch=epochs // 10, leaks="report"
    )
    model = EmotionClassifier(data.class_names, "test_resnet", pretrained=False, hidden_features=16)
    sample = Sample()
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        gradient_clip_val=1.0,
        log_every_n_steps=10,
        logger=TensorBoardLogger(folder, default_hp_metric=False),
        enable_model_summary=False,
        callbacks=[*default_callbacks(schedule, patience=epochs), sample],
    )
    trainer.fit(model, data)
    return sample


def main(args: Sequence[str] | None = None) -> None:
    """Run it, and print what was noted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=200)
    epochs = parser.parse_args(args).epochs
    with TemporaryDirectory() as folder:
        os.environ[CACHE_VARIABLE] = str(Path(folder) / "cache")
        sample = soak(epochs, Path(folder))
    after = epochs // 5 + 1
    slope = float(np.polyfit(range(after, epochs), sample.memory[after:], 1)[0])
    shown = ", ".join(f"{sample.memory[epoch]:.0f}" for epoch in range(0, epochs, max(1, epochs // 10)))
    print(f"MB at the end of every {max(1, epochs // 10)}th epoch: {shown}, {sample.memory[-1]:.0f}")
    print(f"memory grows by {slope:.3f} MB an epoch after the last unfreezing (goal: below {MOST:g})")
    print(f"open files: {min(sample.files[after:])} to {max(sample.files[after:])}")


if __name__ == "__main__":
    main()
