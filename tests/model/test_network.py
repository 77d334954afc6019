"""What answers is what was trained, restored without anything that trains."""

from pathlib import Path

import pytest
import torch

from emotion_lightning.errors import DataError
from emotion_lightning.evaluation.selective import Threshold
from emotion_lightning.model.module import EmotionClassifier
from emotion_lightning.model.network import EmotionNetwork
from tests.helpers import Lab


def saved(lab: Lab, folder: Path, model: EmotionClassifier) -> Path:
    trainer = lab.trainer(callbacks=[], max_epochs=0)
    trainer.strategy.connect(model)
    trainer.save_checkpoint(folder / "a.ckpt")
    return folder / "a.ckpt"


@pytest.mark.parametrize("options", [{}, {"head": "linear", "mean": [0.5] * 3, "std": [0.2] * 3, "input_size": 32}])
def test_a_restored_network_is_the_classifier_to_the_bit(lab: Lab, tmp_path: Path, options: dict[str, object]) -> None:
    model = lab.model(**options).eval()
    model.temperature, model.temperature_tta, model.threshold = 1.3, "none", Threshold(0.6, 0.9, 0.5)
    network = EmotionNetwork.restored(torch.load(saved(lab, tmp_path, model), weights_only=True))
    pixels = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    with torch.inference_mode():
        assert torch.equal(network(pixels), model(pixels))
    assert not network.training
    for name in ("class_names", "normalization", "temperature", "temperature_tta", "threshold"):
        assert getattr(network, name) == getattr(model, name)
    assert dict(network.hparams) == dict(model.hparams)


def test_weights_of_another_network_are_refused(lab: Lab, tmp_path: Path) -> None:
    checkpoint = torch.load(saved(lab, tmp_path, lab.model()), weights_only=True)
    checkpoint["hyper_parameters"]["hidden_features"] = 5
    with pytest.raises(DataError, match="weights are not those of the network that it names"):
        EmotionNetwork.restored(checkpoint)
