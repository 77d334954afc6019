import pytest

from emotion_lightning.export import folder


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what takes seconds and is none of the test's matter: the networks and their verification."""
    monkeypatch.setattr(folder, "write_networks", lambda temporary, model, about: None)
    agreement = folder.Agreement("model.onnx", 1, 1e-3, images=1)
    monkeypatch.setattr(folder, "_verify", lambda *given: [agreement])
