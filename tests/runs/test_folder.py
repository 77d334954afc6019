from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from emotion_lightning.runs.folder import log_dir, run_dir


def trainer(ckpt_path: str | None = None, logged: str | None = None, root: str | Path = "root", steps: int = 0) -> Any:
    return SimpleNamespace(log_dir=logged, default_root_dir=root, ckpt_path=ckpt_path, global_step=steps)


def test_a_run_without_a_logger_writes_into_the_root() -> None:
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
