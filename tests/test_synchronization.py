"""That a training step does not wait: what would wait on a GPU shows in a CPU's profile as reading a value."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.profiler import ProfilerActivity, profile

from emotion_lightning import cli
from emotion_lightning.callbacks import EMA, Divergence, ProgressBar, Throughput, Unfreeze
from emotion_lightning.cli import training
from emotion_lightning.cli.app import EmotionCLI
from tests.helpers import TINY, Lab, on_a_terminal

OPERATIONS = ("_local_scalar_dense", "item", "is_nonzero", "nonzero", "masked_select", "equal", "unique")
READING = {f"aten::{name}" for name in OPERATIONS}
"""Operations for which the host waits, or whose result is as large as the values say."""


class Watch(Callback):
    """Profiles each training batch, from its transfer to the device to the next one's, the last one to its end."""

    def __init__(self) -> None:
        self.reads: list[bool] = []
        self.profile: profile | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        transfer = trainer.datamodule.on_before_batch_transfer

        def watched(*args: Any) -> Any:
            if trainer.training:
                self._stop()
                self.profile = profile(activities=[ProfilerActivity.CPU])
                self.profile.__enter__()
            return transfer(*args)

        trainer.datamodule.on_before_batch_transfer = watched

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        if trainer.is_last_batch:
            self._stop()

    def _stop(self) -> None:
        if self.profile is not None:
            self.profile.__exit__(None, None, None)
            self.reads.append(any(e.name in READING and not _in_adamw(e) for e in self.profile.events()))
            self.profile = None


def _in_adamw(event: Any) -> bool:
    """Whether it is a CPU's kernel of AdamW that reads, as it does the number of its steps; a GPU's does not."""
    return event is not None and ("fused_adam" in event.name or _in_adamw(event.cpu_parent))


@pytest.mark.usefixtures("in_an_empty_folder")
def test_only_steps_that_are_logged_or_shown_read_from_the_device(faces: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch()

    class Watched(EmotionCLI):
        def instantiate_trainer(self, **kwargs: Any) -> Trainer:
            self.trainer_defaults["callbacks"].append(watch)
            return super().instantiate_trainer(**kwargs)

    monkeypatch.setattr(training, "EmotionCLI", Watched)
    monkeypatch.setattr("emotion_lightning.model.watch.COMPARED", "none")  # as on a GPU
    monkeypatch.setattr("emotion_lightning.callbacks.divergence.READ_AT_ONCE", "none")
    on_a_terminal(monkeypatch)
    every = ["--trainer.log_every_n_steps", "4", "--tensorboard.every_n_epochs", "0", "--report.write", "false"]
    cli.main(["fit", "--data.root", str(faces), *TINY, *every])
    assert len(watch.reads) == 18
    of_epoch = 6  # the first step prepares frozen stages, the last one is shown
    usual = {step for step in range(1, 19) if step % of_epoch not in (0, 1)}
    logged = {step for step in usual if step % 4 == 0}
    reading = {step for step in usual if watch.reads[step - 1]}
    assert reading == logged


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("precision", ["16-mixed", "bf16-mixed", "32-true"])
def test_a_gpu_is_not_waited_for_in_a_step(lab: Lab, precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Strict(Callback):
        """In the steps of an epoch that are neither logged nor shown, transfers and augmentation included."""

        def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
            torch.cuda.set_sync_debug_mode("default" if trainer.is_last_batch else "error")

        def on_exception(self, *args: Any) -> None:
            torch.cuda.set_sync_debug_mode("default")

    callbacks = [Unfreeze({0: "classifier", 1: "all"}), EMA(), Divergence(), Throughput(), ProgressBar(), Strict()]
    options = {"accelerator": "gpu", "devices": 1, "precision": precision, "enable_progress_bar": True}
    on_a_terminal(monkeypatch)
    trainer = lab.trainer(max_epochs=2, log_every_n_steps=6, callbacks=callbacks, **options)
    trainer.fit(lab.model(), lab.data())
    assert trainer.global_step == 12
