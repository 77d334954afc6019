import os
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO

import pytest
import torch

from emotion_lightning.errors import DataError
from emotion_lightning.model.module import EmotionClassifier
from emotion_lightning.runs.checkpoint_io import AtomicCheckpointIO, identity, update_checkpoint
from tests.helpers import Lab, assert_equal


def test_a_failed_write_leaves_the_old_file_and_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    io, path = AtomicCheckpointIO(), tmp_path / "last.ckpt"
    io.save_checkpoint({"epoch": 1}, path)

    def full(checkpoint: object, file: object) -> None:
        file.write(b"half a checkpoint")  # type: ignore[attr-defined]
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(DataError, match=r"last\.ckpt.*No space left"):
        io.save_checkpoint({"epoch": 2}, path)
    monkeypatch.undo()
    assert torch.load(path, weights_only=True) == {"epoch": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["last.ckpt"]


def test_temporary_file_is_in_the_same_folder_and_synced_before_it_takes_the_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, os.replace

    def watched_fsync(descriptor: int) -> None:
        done.append("fsync")
        fsync(descriptor)

    def watched_replace(source: Path, target: Path) -> None:
        assert Path(source).parent == Path(target).parent
        done.append("replace")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(os, "replace", watched_replace)
    AtomicCheckpointIO().save_checkpoint({}, tmp_path / "last.ckpt")
    assert done == ["fsync", "fsync", "replace", "fsync"]  # once before it is read back


def test_an_update_changes_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    weight = torch.randn(4, 3, 2, 2).to(memory_format=torch.channels_last)
    state = OrderedDict(weight=weight, tied=weight, half=torch.ones(2, dtype=torch.bfloat16))
    saved = {"state_dict": state, "calibration": {"temperature": 1.5, "tta": None}, "epoch": 3}
    (tmp_path / "real").mkdir()
    real, link = tmp_path / "real/best.ckpt", tmp_path / "best.ckpt"
    AtomicCheckpointIO().save_checkpoint(saved, real)
    link.symlink_to(real)
    update_checkpoint(link, "calibration", {"threshold": {"probability": 0.5}}, identity(link))
    assert link.is_symlink()
    found = torch.load(real, weights_only=True)
    assert found["state_dict"]["weight"].stride() == weight.stride()
    assert found["state_dict"]["weight"].data_ptr() == found["state_dict"]["tied"].data_ptr()
    assert found["calibration"].pop("threshold") == {"probability": 0.5}
    assert_equal(saved, found)
    torch.save({"epoch": 3}, link)  # of version 0.1
    update_checkpoint(link, "calibration", {"threshold": None}, identity(link))
    assert torch.load(real, weights_only=True) == {"epoch": 3, "calibration": {"threshold": None}}
    assert [path.name for path in real.parent.iterdir()] == ["best.ckpt"]


def test_a_file_that_took_the_place_of_the_one_that_is_meant_is_left_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    io, path = AtomicCheckpointIO(), tmp_path / "best.ckpt"
    io.save_checkpoint({"epoch": 1}, path)
    known, save = identity(path), torch.save

    def meanwhile(checkpoint: object, file: object) -> None:
        save(checkpoint, file)
        monkeypatch.undo()
        io.save_checkpoint({"epoch": 2}, path)

    monkeypatch.setattr(torch, "save", meanwhile)
    for _ in range(2):
        with pytest.raises(DataError, match=r"best\.ckpt was replaced while it was measured.*nothing was written"):
            update_checkpoint(path, "calibration", {"threshold": None}, known)
        assert torch.load(path, weights_only=True) == {"epoch": 2}
    assert [entry.name for entry in tmp_path.iterdir()] == ["best.ckpt"]


@pytest.mark.skipif(os.name == "nt", reason="needs a limit on the size of files")
def test_a_disk_that_gets_full_while_torch_writes_is_said_in_the_systems_words(tmp_path: Path) -> None:
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))  # stands for a full disk
    try:
        with pytest.raises(DataError, match="File too large; free space"):
            AtomicCheckpointIO().save_checkpoint({"a": torch.zeros(100_000)}, tmp_path / "last.ckpt")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []


def test_what_does_not_come_back_as_it_was_written_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    io, path, save = AtomicCheckpointIO(), tmp_path / "last.ckpt", torch.save
    io.save_checkpoint({"epoch": 1, "state_dict": {"a": torch.arange(9.0)}}, path)

    def rot(checkpoint: dict[str, Any], stream: BinaryIO) -> None:
        save(checkpoint, stream)
        stream.seek(0)
        content = stream.read()
        stream.seek(content.index(torch.arange(9.0).numpy().tobytes()))
        stream.write(b"\x01")

    monkeypatch.setattr(torch, "save", rot)
    with pytest.raises(DataError, match=r"cannot write .*last\.ckpt: what was written cannot be read back"):
        io.save_checkpoint({"epoch": 2, "state_dict": {"a": torch.arange(9.0)}}, path)
    assert torch.load(path, weights_only=True)["epoch"] == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["last.ckpt"]


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return eval, ("open('ran', 'w')",)


@pytest.mark.usefixtures("in_an_empty_folder")
@pytest.mark.parametrize("fn", ["fit", "validate", "test", "predict"])
def test_from_python_nothing_in_a_checkpoint_runs_whatever_is_asked_for(
    lab: Lab, fn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save({"state_dict": {}, "bomb": Bomb()}, "bomb.ckpt")
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    for path, said in (
        ("bomb.ckpt", "may run code"),
        ("http://127.0.0.1:9/bomb.ckpt", "addresses are not fetched"),
        ("file://bomb.ckpt", "addresses are not fetched"),
        ("gone.ckpt", "no such file"),
    ):
        run = getattr(lab.trainer(callbacks=[]), fn)  # the module alone sees to it
        with pytest.raises(DataError, match=said):
            run(lab.model(), datamodule=lab.data(), ckpt_path=path, weights_only=False)
        with pytest.raises(DataError, match=said):
            EmotionClassifier.load_from_checkpoint(path)
    assert not Path("ran").exists()


@pytest.mark.parametrize(
    ("entry", "value"),
    [("state_dict", [1]), ("callbacks", torch.ones(2)), ("pytorch-lightning_version", None), ("loops", "x")],
)
def test_an_entry_of_another_type_is_named(tmp_path: Path, entry: str, value: object) -> None:
    file = tmp_path / "a.ckpt"
    torch.save({"state_dict": {}, "pytorch-lightning_version": "2.6.0", entry: value}, file)
    with pytest.raises(DataError, match=rf"`ckpt_path` .*a\.ckpt: damaged, or changed: its {entry} is not"):
        AtomicCheckpointIO().load_checkpoint(file)
