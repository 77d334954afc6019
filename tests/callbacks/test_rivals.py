from pathlib import Path

import pytest
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import BackboneFinetuning, BatchSizeFinder, EMAWeightAveraging, LearningRateFinder
from lightning.pytorch.tuner import Tuner

from emotion_lightning.callbacks import EMA, BatchSize, Unfreeze
from emotion_lightning.errors import UsageError
from tests.helpers import QUIET, TINY, Lab, fails

LIGHTNING = "lightning.pytorch.callbacks"
OURS = "emotion_lightning.callbacks"


@pytest.mark.parametrize(
    ("callback", "instead"),
    [
        (f"{LIGHTNING}.EMAWeightAveraging", "--ema.decay"),
        (f"{LIGHTNING}.WeightAveraging", "--ema.decay"),
        (f"{{class_path: {LIGHTNING}.StochasticWeightAveraging, init_args: {{swa_lrs: 0.01}}}}", "--ema.decay"),
        (f"{LIGHTNING}.BackboneFinetuning", "--unfreeze.schedule"),
        (f"{{class_path: {LIGHTNING}.EarlyStopping, init_args: {{monitor: val/loss}}}}", "--early_stopping.patience"),
        (f"{LIGHTNING}.BatchSizeFinder", "--data.batch_size auto"),
        (f"{LIGHTNING}.LearningRateFinder", "--lr_find"),
        (f"{OURS}.EMA", "--ema.decay"),
        (f"{OURS}.Unfreeze", "--unfreeze.schedule"),
        (f"{OURS}.EarlyStopping", "--early_stopping.patience"),
        (f"{OURS}.RunCheckpoint", "--checkpoint.every_n_epochs"),
        (f"{OURS}.Report", "--report.write"),
    ],
)
@pytest.mark.usefixtures("in_an_empty_folder")
def test_a_callback_that_does_what_one_of_ours_does_is_refused_before_anything_is_written(
    faces: Path, capsys: pytest.CaptureFixture[str], callback: str, instead: str
) -> None:
    error = fails(capsys, 2, "fit", "--data.root", str(faces), *TINY, *QUIET, "--trainer.callbacks", f"[{callback}]")
    assert instead in error
    assert error.count("\n") == 1
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (EMA(0.9), EMAWeightAveraging()),
        (Unfreeze({0: "all"}), BackboneFinetuning()),
        (BatchSize(), BatchSizeFinder()),
        (BatchSize(), LearningRateFinder()),
    ],
    ids=lambda callback: type(callback).__name__,
)
def test_from_python_too(lab: Lab, ours: Callback, theirs: Callback) -> None:
    with pytest.raises(UsageError, match=type(theirs).__name__):
        lab.trainer(callbacks=[ours, theirs]).fit(lab.model(), lab.data())


def test_a_tuner_is_told_what_to_use_instead(lab: Lab) -> None:
    trainer: Trainer = lab.trainer()
    with pytest.raises(UsageError, match="`lr_find`"):
        Tuner(trainer).lr_find(lab.model(), datamodule=lab.data(), attr_name="lr_classifier")
