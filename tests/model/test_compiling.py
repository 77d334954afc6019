import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch._dynamo.utils import counters

from emotion_lightning.callbacks import EMA, RunCheckpoint, Unfreeze
from emotion_lightning.evaluation.gradcam import gradcam
from emotion_lightning.model.module import EmotionClassifier
from tests.helpers import Lab


class Losses(Callback):
    """Keeps the loss of every step, and the number of graphs that were compiled by the end of each epoch."""

    def __init__(self) -> None:
        self.all: list[float] = []
        self.graphs: list[int] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *args: Any) -> None:
        self.all.append(outputs["loss"].item())

    def on_train_epoch_end(self, *args: Any) -> None:
        self.graphs.append(counters["stats"]["unique_graphs"])


@pytest.mark.slow
def test_a_compiled_backbone_trains_as_one_that_is_not(lab: Lab, tmp_path: Path) -> None:
    losses, models = {}, {}
    for compiled in (False, True):
        losses[compiled], models[compiled] = Losses(), lab.model(compile=compiled)
        schedule = {0: "classifier", 2: "all"}
        callbacks = [Unfreeze(schedule), EMA(0.9), RunCheckpoint(), losses[compiled]]
        trainer = lab.trainer(str(compiled), max_epochs=4, callbacks=callbacks)
        trainer.fit(models[compiled], lab.data())
    assert losses[True].all == pytest.approx(losses[False].all, rel=1e-3)
    assert losses[False].graphs[-1] == 0
    first, _, third, last = losses[True].graphs
    assert first > 0  # the first phase
    assert first == losses[True].graphs[1] < third == last  # the second, and no other

    file = tmp_path / "True" / "checkpoints" / "last.ckpt"
    assert torch.load(file, weights_only=True)["state_dict"].keys() == models[False].state_dict().keys()
    restored = EmotionClassifier.load_from_checkpoint(file)
    assert restored.backbone._compiled_call_impl is None
    images, classes = torch.randn(2, 3, 32, 32), torch.tensor([0, 1])
    torch.testing.assert_close(gradcam(models[True], images, classes), gradcam(restored, images, classes))


def test_nothing_is_compiled_but_for_training(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    model = lab.model(compile=True)
    with caplog.at_level(logging.INFO):
        lab.trainer().test(model, lab.data(), verbose=False)
    assert model.backbone._compiled_call_impl is None
