import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from emotion_lightning.callbacks import EMA, DiskSpace, RunCheckpoint, Unfreeze
from emotion_lightning.callbacks.disk_space import ALL_ELSE, checkpoint_bytes
from emotion_lightning.errors import DataError
from tests.helpers import Lab

Usage = namedtuple("Usage", "total used free")


class Measuring(DiskSpace):
    """Notes what a checkpoint is expected to take."""

    def on_train_start(self, trainer: object, pl_module: object) -> None:
        self.now, self.later = (checkpoint_bytes(trainer, pl_module, every) for every in (False, True))  # type: ignore[arg-type]
        super().on_train_start(trainer, pl_module)  # type: ignore[arg-type]


def fit(lab: Lab, ema: float = 0.9, **options: object) -> Measuring:
    space = Measuring()
    callbacks = [Unfreeze({0: "classifier", 1: "all"}), EMA(ema), RunCheckpoint(every_n_epochs=1), space]
    lab.trainer(callbacks=callbacks, max_epochs=2).fit(lab.model(hidden_features=512), lab.data(), **options)  # type: ignore[arg-type]
    return space


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_a_checkpoint_takes_what_is_expected(lab: Lab, ema: float) -> None:
    space = fit(lab, ema)
    folder = lab.folder / "run" / "checkpoints"
    assert space.now == pytest.approx((folder / "epoch_000.ckpt").stat().st_size, rel=0.05)
    assert space.later == pytest.approx((folder / "epoch_001.ckpt").stat().st_size, rel=0.05)


def free(monkeypatch: pytest.MonkeyPatch, size: float) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda place: Usage(0, 0, int(size)))


def test_too_little_for_one_checkpoint_is_refused_and_too_little_for_all_is_said(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    space = fit(lab)
    shutil.rmtree(lab.folder / "run")
    free(monkeypatch, 1.9 * space.now)
    with pytest.raises(DataError, match=r"not even one checkpoint of .* MB fits.*`default_root_dir`"):
        fit(lab)
    assert not list((lab.folder / "run").rglob("*.ckpt"))
    free(monkeypatch, 2.1 * space.now)
    with pytest.warns(UserWarning, match=r"4 checkpoints of .* MB among them: .*`checkpoint.every_n_epochs`"):
        fit(lab)
    shutil.rmtree(lab.folder / "run")
    free(monkeypatch, 5 * space.later + ALL_ELSE + 1)
    recwarn.clear()
    fit(lab)
    assert not [each for each in recwarn if "are free" in str(each.message)]


def test_a_resume_needs_room_for_a_temporary_file_alone(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    space = fit(lab)
    checkpoints = lab.folder / "run" / "checkpoints"
    free(monkeypatch, 1.1 * space.later)
    fit(lab, ckpt_path=checkpoints / "epoch_000.ckpt")
    free(monkeypatch, 0.9 * space.later)
    with pytest.raises(DataError, match="not even one checkpoint"):
        fit(lab, ckpt_path=checkpoints / "epoch_000.ckpt")
    assert Path(checkpoints / "last.ckpt").is_file()
