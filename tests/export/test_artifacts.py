"""The folder that timm builds a network from."""

import re
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from emotion_lightning.export.about import About
from emotion_lightning.export.artifacts import write_timm
from emotion_lightning.inference.predictor import Predictor
from tests.helpers import CLASSES, Lab


@pytest.mark.parametrize("backbone", ["test_resnet", "test_vit"])
def test_timm_loads_a_linear_head_without_our_code(
    backbone: str, lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = lab.model(backbone=backbone, head="linear", input_size=32, mean=[0.4, 0.5, 0.6]).eval()
    assert write_timm(tmp_path / "model/timm", model, About.of(Predictor(model, 32, "cpu"), "mit"))
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).parents[2] / "docs/export.md").read_text(encoding="utf-8")
    [example] = [text for text in re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL) if "timm" in text]
    made: dict[str, Any] = {}
    exec(compile(example, "export.md", "exec"), made)
    images = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        assert made["network"](images).allclose(model(images), atol=1e-6)
    assert made["network"].pretrained_cfg["label_names"] == list(CLASSES)
    assert "size=(32, 32)" in str(made["transform"])
    assert "mean=tensor([0.4000, 0.5000, 0.6000])" in str(made["transform"])


def test_the_recipes_head_and_what_timm_ends_otherwise_are_left_out(lab: Lab, tmp_path: Path) -> None:
    model = lab.model().eval()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # the recipe's head is nothing to be warned of
        assert not write_timm(tmp_path / "timm", model, About.of(Predictor(model, 32, "cpu"), None))
    model = lab.model(head="linear").eval()
    model.backbone.body.get_classifier = lambda: torch.nn.Identity()
    with pytest.warns(UserWarning, match="timm's test_resnet ends otherwise than by a linear layer"):
        assert not write_timm(tmp_path / "timm", model, About.of(Predictor(model, 32, "cpu"), None))
    assert not (tmp_path / "timm").exists()
