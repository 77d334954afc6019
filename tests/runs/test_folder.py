from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from emotion_lightning.errors import UsageError
from emotion_lightning.runs.folder import log_dir, new_run, run_dir


def trainer(ckpt_path: str | None = None, logged: str | None = None, root: str | Path = "root", steps: int = 0) -> Any:
    loggers = [SimpleNamespace(), SimpleNamespace(log_dir=None), SimpleNamespace(log_dir=logged)]
    strategy = SimpleNamespace(broadcast=lambda value: value)
    return SimpleNamespace(
        loggers=loggers, default_root_dir=root, ckpt_path=ckpt_path, global_step=steps, strategy=strategy
    )


def test_a_run_is_where_a_logger_has_a_folder_for_it_or_else_in_the_root() -> None:
    assert log_dir(trainer()) == Path("root")
    assert log_dir(trainer(logged="root/version_0")) == Path("root/version_0")


@pytest.mark.parametrize(
    ("path", "expected"), [("run/checkpoints/best.ckpt", "run"), ("elsewhere/a.ckpt", "elsewhere")]
)
def test_a_measurement_belongs_to_the_run_of_its_checkpoint(path: str, expected: str) -> None:
    assert run_dir(trainer(path, root=Path.cwd())) == Path(expected).resolve()
    assert run_dir(trainer(path, root="root", steps=9)) == Path(expected).resolve()  # of the run just made
    assert run_dir(trainer()) == Path("root")


def test_a_root_that_was_chosen_goes_before_the_folder_of_anothers_checkpoint() -> None:
    assert run_dir(trainer("run/checkpoints/best.ckpt", root="root")) == Path("root").resolve()
    assert run_dir(trainer("root/a/checkpoints/best.ckpt", root="root")) == Path("root/a").resolve()


def test_a_run_without_a_name_has_the_next_number(tmp_path: Path) -> None:
    assert new_run(tmp_path).name == "version_0"
    for name in ("version_2", "version_10", "version_x", "lr3e-4"):
        (tmp_path / name).mkdir()
    assert new_run(tmp_path).name == "version_11"


@pytest.mark.parametrize("name", ["", "a/b", "a\\b", "..", ".hidden", "-x", "best", "last", "version_3", "two words"])
def test_a_name_that_is_no_plain_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot name a run: give letters, digits"):
        new_run(tmp_path, name)


def test_a_name_is_given_once(tmp_path: Path) -> None:
    assert new_run(tmp_path, "lr3e-4") == tmp_path / "lr3e-4"
    (tmp_path / "lr3e-4/checkpoints").mkdir(parents=True)
    assert new_run(tmp_path, "lr3e-4", again=True) == tmp_path / "lr3e-4"  # begun by a job that is queued again
    (tmp_path / "lr3e-4/checkpoints/best.ckpt").touch()
    for again in (False, True):
        with pytest.raises(UsageError, match="choose another, go on with that one by `ckpt_path=lr3e-4`, or delete"):
            new_run(tmp_path, "lr3e-4", again)
