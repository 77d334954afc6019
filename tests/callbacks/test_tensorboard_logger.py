import shutil
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.tensorflow_stub.io.gfile import LocalFileSystem

from emotion_lightning import cli
from emotion_lightning.cli import training
from emotion_lightning.cli.app import EmotionCLI
from tests.helpers import QUIET, RUN, TINY

pytestmark = pytest.mark.usefixtures("in_an_empty_folder")


class Harm(Callback):
    """Takes from a run, in its epoch 1, what its events are written to."""

    def __init__(self, patch: pytest.MonkeyPatch, what: str) -> None:
        self.patch, self.what = patch, what

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.current_epoch == 1 and self.what == "full":
            self.patch.setattr(LocalFileSystem, "_write", no_space)
        elif trainer.current_epoch == 1:
            shutil.rmtree(RUN)


def no_space(*args: object) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("what", ["full", "deleted"])
def test_events_that_can_no_longer_be_written_end_no_run(
    faces: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], what: str
) -> None:
    class Harmed(EmotionCLI):
        def instantiate_trainer(self, **kwargs: object) -> Trainer:
            self.trainer_defaults["callbacks"].append(Harm(monkeypatch, what))
            return super().instantiate_trainer(**kwargs)

    monkeypatch.setattr(training, "EmotionCLI", Harmed)
    with pytest.warns(UserWarning, match="TensorBoard's files in .* can no longer be written") as warned:
        cli.main(["fit", "--data.root", str(faces), *TINY, *QUIET, "--tensorboard.every_n_epochs", "1"])
    assert sum("can no longer be written" in str(each.message) for each in warned) == 1
    assert "Traceback" not in capfd.readouterr().err
    assert torch.load(RUN / "checkpoints" / "last.ckpt", weights_only=True)["epoch"] == 2


def test_what_can_be_written_is(faces: Path) -> None:
    cli.main(["fit", "--data.root", str(faces), *TINY, *QUIET])
    events = EventAccumulator(str(RUN)).Reload()
    assert [event.step for event in events.Scalars("val/f1_macro")] == [5, 11, 17]
    assert (RUN / "hparams.yaml").is_file()
