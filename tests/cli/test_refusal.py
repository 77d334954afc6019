"""What a run that is refused late removes: what it alone has made, and no work."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from emotion_lightning.cli.refusal import nothing_left_of_a_refusal
from emotion_lightning.errors import UsageError


def trainer(folder: Path) -> Any:
    alone = SimpleNamespace(broadcast=lambda found: found)
    return SimpleNamespace(loggers=[], default_root_dir=folder, strategy=alone, global_step=0)


def refused_after_writing(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    raise UsageError("no")


def test_what_other_processes_have_trained_stays(tmp_path: Path) -> None:
    last = tmp_path / "lightning_logs/version_0/checkpoints/last.ckpt"  # of children, whose steps no parent counts
    with pytest.raises(UsageError), nothing_left_of_a_refusal(trainer(last.parents[1])):
        refused_after_writing(last)
    assert last.is_file()


def test_of_two_runs_in_one_folder_the_refused_one_leaves_the_others(tmp_path: Path) -> None:
    folder = tmp_path / "lightning_logs/version_0"
    with nothing_left_of_a_refusal(trainer(folder)):
        with pytest.raises(UsageError), nothing_left_of_a_refusal(trainer(folder)):
            refused_after_writing(folder / "config.yaml")  # which the other writes too
        assert (folder / "config.yaml").is_file()


def test_an_empty_folder_that_was_there_stays_and_none_that_was_made(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    folder = tmp_path / "out/run"
    with pytest.raises(UsageError), nothing_left_of_a_refusal(trainer(folder)):
        refused_after_writing(folder / "config.yaml")
    assert [path.name for path in tmp_path.rglob("*")] == ["out"]
    (tmp_path / "out").rmdir()
    with nothing_left_of_a_refusal(trainer(folder)):  # such as a fast_dev_run, which writes nothing
        assert folder.is_dir()
    assert list(tmp_path.iterdir()) == []
