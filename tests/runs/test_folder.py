from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from emotion_lightning.runs.folder import log_dir, run_dir


def trainer(ckpt_path: str | None = None, logged: str | None = None) -> Any:
    return SimpleNamespace(log_dir=logged, default_root_dir="root", ckpt_path=ckpt_path)


def test_a_run_without_a_logger_writes_into_the_root() -> None:
    assert log_dir(trainer()) == Path("root")
    assert log_dir(trainer(logged="root/version_0")) == Path("root/version_0")


@pytest.mark.parametrize(
    ("path", "expected"), [("run/checkpoints/best.ckpt", "run"), ("elsewhere/a.ckpt", "elsewhere")]
)
def test_a_measurement_belongs_to_the_run_of_its_checkpoint(path: str, expected: str) -> None:
    assert run_dir(trainer(path)) == Path(expected).resolve()
    assert run_dir(trainer()) == Path("root")
