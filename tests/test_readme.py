import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


def test_the_python_example_runs(faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [example] = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
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
    assert (tmp_path / "lightning_logs/version_0/metrics.json").is_file()
