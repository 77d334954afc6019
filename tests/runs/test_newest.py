import os
from pathlib import Path

import pytest

from emotion_lightning.errors import UsageError
from emotion_lightning.runs.newest import checkpoint_named, newest


def checkpoint(root: Path, run: str, name: str, age: int = 0) -> Path:
    file = root / "lightning_logs" / run / "checkpoints" / f"{name}.ckpt"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    os.utime(file, (1e9 - age, 1e9 - age))
    return file


def test_the_newest_run_is_the_one_that_began_last(tmp_path: Path) -> None:
    checkpoint(tmp_path, "version_9", "last")
    tenth = checkpoint(tmp_path, "version_10", "last", age=5)
    checkpoint(tmp_path, "version_11", "best")  # killed before it had a last
    checkpoint(tmp_path, "mine", "last")
    assert newest("last", tmp_path) == tenth
    assert newest("last", tmp_path / "elsewhere") is None


def test_runs_with_names_of_their_own_go_by_time(tmp_path: Path) -> None:
    checkpoint(tmp_path, "a", "best")
    checkpoint(tmp_path, "b", "best", age=5)
    assert newest("best", tmp_path) == tmp_path / "lightning_logs/a/checkpoints/best.ckpt"


@pytest.mark.parametrize("name", ["last", "best"])
def test_a_name_stands_for_the_file_in_the_newest_run(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=rf"no run in .*lightning_logs has a {name}\.ckpt: give its file"):
        checkpoint_named(name, tmp_path)
    file = checkpoint(tmp_path, "version_0", name)
    assert checkpoint_named(name, tmp_path) == str(file)
    assert checkpoint_named("some/last.ckpt", tmp_path) == "some/last.ckpt"
