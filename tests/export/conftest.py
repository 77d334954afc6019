import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from emotion_lightning.cli import main
from emotion_lightning.data.drawn import draw_face
from emotion_lightning.data.images.decode import to_tensor
from emotion_lightning.export import folder
from emotion_lightning.model.module import EmotionClassifier
from tests.helpers import CLASSES, QUIET


@pytest.fixture(scope="session")
def face() -> Callable[..., Image.Image]:
    """Draws a face of a class under spots of color, so that colors and sides cannot be exchanged unseen."""

    def draw(name: str, index: int, side: int = 32) -> Image.Image:
        spots = np.random.default_rng(index).integers(0, 256, (4, 4, 3), dtype=np.uint8)
        return Image.blend(draw_face(name, 5, index, side), Image.fromarray(spots).resize((side, side)), 0.5)

    return draw


@pytest.fixture(scope="session")
def judged(reported: Path, face: Callable[..., Image.Image], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of that run whose best checkpoint has a temperature of 1.7, and other answers for other faces."""
    run = Path(shutil.copytree(reported, tmp_path_factory.mktemp("judged") / "version_0"))
    path = run / "checkpoints/best.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    model = EmotionClassifier.load_from_checkpoint(path, map_location="cpu")
    pixels = torch.stack([to_tensor(face(name, index), 32) for name in CLASSES for index in range(8)])
    with torch.no_grad():
        logits = model(pixels)
    scale, state = 1 / logits.std(dim=0), checkpoint["state_dict"]
    state["classifier.6.weight"] = state["classifier.6.weight"] * scale[:, None]
    state["classifier.6.bias"] = (state["classifier.6.bias"] - logits.mean(dim=0)) * scale
    checkpoint["calibration"]["temperature"] = 1.7
    torch.save(checkpoint, path)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(run.parent)
        patch.setattr(sys, "argv", ["emotion_lightning"])
        main(["test", "--ckpt_path", str(path), *QUIET])
    return run


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what takes seconds and is none of the test's matter: the networks and their verification."""
    monkeypatch.setattr(folder, "write_networks", lambda temporary, model, about: None)
    agreement = folder.Agreement("model.onnx", 1, 1e-3, images=1)
    monkeypatch.setattr(folder, "_verify", lambda *given: [agreement])
