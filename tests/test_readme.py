import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

README = Path(__file__).parents[1] / "README.md"


def python_example(part: str) -> str:
    """The example of README.md that contains ``part``."""
    examples = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    [found] = [example for example in examples if part in example]
    return str(found)


def test_cleanlab_gets_what_it_asks_for(
    reported: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given: dict[str, np.ndarray] = {}

    def find_label_issues(labels: np.ndarray, pred_probs: np.ndarray, return_indices_ranked_by: str) -> list[int]:
        given.update(labels=labels, probabilities=pred_probs)
        return [3]

    fake = ModuleType("cleanlab.filter")
    monkeypatch.setattr(fake, "find_label_issues", find_label_issues, raising=False)
    monkeypatch.setitem(sys.modules, "cleanlab", ModuleType("cleanlab"))
    monkeypatch.setitem(sys.modules, "cleanlab.filter", fake)
    monkeypatch.chdir(reported.parents[1])
    exec(compile(python_example("cleanlab"), str(README), "exec"), {})
    assert given["labels"].tolist() == [0] * 6 + [1] * 6 + [2] * 6
    assert given["probabilities"].shape == (18, 3)
    assert given["probabilities"].sum(axis=1) == pytest.approx(np.ones(18))
    assert capsys.readouterr().out == "val/angry/03.png\n"


def test_the_python_example_runs(faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    example = python_example("from lightning.pytorch import Trainer")
    smaller = {
        'root="faces/"': f"root={str(faces)!r}, num_workers=0",
        "image_size=224, batch_size=16": "image_size=32, batch_size=8",
        "class_names=data.class_names": 'class_names=data.class_names, backbone="test_resnet", pretrained=False',
        "max_epochs=80": "max_epochs=1, accelerator='cpu'",
    }
    for given, small in smaller.items():
        assert given in example
        example = example.replace(given, small)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(compile(example, str(README), "exec"), names)
    assert (tmp_path / "lightning_logs/version_0/report/test/metrics.json").is_file()
