from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from emotion_lightning.batch import IMAGENET, Normalization, normalize
from emotion_lightning.cli import main
from emotion_lightning.errors import UsageError
from emotion_lightning.model.module import EmotionClassifier
from emotion_lightning.runs.config import load_checkpoint
from tests.helpers import QUIET, RUN, TINY, Lab

HALF = Normalization((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
OTHER = Normalization((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))


class Given(Callback):
    """Keeps the first batch of each kind as the model is given it."""

    def __init__(self) -> None:
        self.images: dict[str, torch.Tensor] = {}

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self.images.setdefault("train", batch[0].clone())

    def on_validation_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, *args: Any) -> None:
        self.images.setdefault("val", batch[0].clone())


@pytest.mark.parametrize(
    ("backbone", "own"), [("test_resnet", HALF), ("test_efficientnet", IMAGENET), ("tf_efficientnet_lite0", HALF)]
)
def test_images_are_normalized_as_the_backbones_weights_want_them(lab: Lab, backbone: str, own: Normalization) -> None:
    model = lab.model(backbone=backbone).eval()
    pixels = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    assert model.normalization == own
    with torch.no_grad():
        torch.testing.assert_close(model(pixels), model(normalize(pixels.float() / 255, own)))


def test_the_data_normalizes_by_what_its_trainers_model_says(lab: Lab) -> None:
    given = []
    for mean, std in (HALF, OTHER):
        given.append(Given())
        model = lab.model(mean=list(mean), std=list(std))
        lab.trainer(max_epochs=1, limit_train_batches=1, callbacks=[given[-1]]).fit(model, lab.data())
    for kind in ("train", "val"):
        half, other = (found.images[kind] for found in given)
        pixels = half * 0.5 + 0.5
        expected = normalize(pixels, OTHER)
        torch.testing.assert_close(other, expected, atol=1e-5, rtol=0)


def test_a_checkpoint_keeps_it(lab: Lab, tmp_path: Path) -> None:
    trainer = lab.trainer(max_epochs=1, limit_train_batches=1)
    trainer.fit(lab.model(mean=list(OTHER.mean), std=list(OTHER.std)), lab.data())
    path = tmp_path / "kept.ckpt"
    trainer.save_checkpoint(path)
    assert EmotionClassifier.load_from_checkpoint(path).normalization == OTHER
    model = lab.model()  # whose own is another
    lab.trainer(callbacks=[]).validate(model, lab.data(), ckpt_path=path, verbose=False)
    assert (model.normalization, model.hparams["mean"]) == (OTHER, list(OTHER.mean))

    checkpoint = torch.load(path, weights_only=True)
    for name in ("mean", "std"):
        del checkpoint["hyper_parameters"][name]
    torch.save(checkpoint, path)  # as it was written before there was a choice
    assert EmotionClassifier.load_from_checkpoint(path).normalization == IMAGENET


@pytest.mark.usefixtures("in_an_empty_folder")
def test_the_command_line_takes_it_and_a_resume_keeps_it(faces: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--model.mean", "[0.1, 0.2, 0.3]", "--model.std", "[0.4, 0.5, 0.6]", "--checkpoint.every_n_epochs", "1"]
    main(["fit", "--data.root", str(faces), *TINY, *QUIET, *options])
    first = RUN / "checkpoints/epoch_000.ckpt"
    main(["fit", "--ckpt_path", str(first), *QUIET])
    hparams = load_checkpoint(str(RUN / "checkpoints/last.ckpt"))["hyper_parameters"]
    assert Normalization(tuple(hparams["mean"]), tuple(hparams["std"])) == OTHER
    with pytest.raises(SystemExit):
        main(["fit", "--ckpt_path", str(first), "--model.mean", "[0.5, 0.5, 0.5]", *QUIET])
    assert "--model.mean [0.5, 0.5, 0.5] contradicts the checkpoint" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options", [{"mean": [0.5]}, {"mean": [0.5, 0.5, 127.5]}, {"std": [0.0, 0.5, 0.5]}, {"std": [0.5, 0.5, -0.5]}]
)
def test_what_is_no_color_is_refused(lab: Lab, options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=f"`{min(options)}` .*is not three numbers"):
        lab.model(**options)
