import os
from collections import OrderedDict
from pathlib import Path

import pytest
import torch

from emotion_lightning.errors import DataError
from emotion_lightning.runs.checkpoint_io import AtomicCheckpointIO, identity, update_checkpoint
from tests.helpers import assert_equal


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
    assert done == ["fsync", "replace", "fsync"]


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
