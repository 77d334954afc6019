import json
import os
from pathlib import Path

import pytest

from emotion_lightning.errors import UsageError
from emotion_lightning.runs.newest import checkpoint_named, newest, run_named


def checkpoint(root: Path, run: str, name: str, began: str | None = None, age: int = 0) -> Path:
    file = root / "lightning_logs" / run / "checkpoints" / f"{name}.ckpt"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    if began:
        (file.parents[1] / "provenance.json").write_text(json.dumps([{"started": began}, {"started": "9999"}]))
    os.utime(file.parents[1], (1e9 - age, 1e9 - age))
    return file


def test_the_newest_run_is_the_one_that_began_last_whatever_its_name(tmp_path: Path) -> None:
    checkpoint(tmp_path, "version_9", "last", "2026-01-01T10:00:00+00:00")
    last = checkpoint(tmp_path, "lr3e-4", "last", "2026-01-03T10:00:00+00:00", age=5)
    checkpoint(tmp_path, "version_10", "last", "2026-01-02T10:00:00+00:00")
    checkpoint(tmp_path, "version_11", "best", "2026-01-04T10:00:00+00:00")  # killed before it had a last
    assert newest("last", tmp_path) == last
    assert newest("last", tmp_path, "version_9") == tmp_path / "lightning_logs/version_9/checkpoints/last.ckpt"
    assert newest("last", tmp_path / "elsewhere") is None


def test_a_run_that_does_not_say_when_it_began_goes_by_its_folder(tmp_path: Path) -> None:
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
    assert run_named(name, tmp_path) == file.parents[1]


def test_a_run_stands_for_its_checkpoint_and_is_known_by_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    best = checkpoint(Path(), "mine", "best")
    folder = best.parents[1]
    (tmp_path / "mine").mkdir()  # a folder of another kind hides no run
    for given in ("mine", str(folder), f"{folder}/"):
        assert Path(checkpoint_named(given)) == best
        assert run_named(given) == folder
    assert run_named(str(best)).samefile(folder)
    with pytest.raises(UsageError, match=r"`ckpt_path` mine: .*mine has no checkpoints/last\.ckpt: give .*best\.ckpt`"):
        checkpoint_named("mine", of_run="last")
    with pytest.raises(UsageError, match="other: no such run; give its folder, or the name of one in lightning_logs"):
        run_named("other")
    assert checkpoint_named("other") == "other"  # which what loads it says is no file
