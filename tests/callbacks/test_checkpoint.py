import shutil
from pathlib import Path

import pytest
import torch
from lightning.fabric.plugins import TorchCheckpointIO

from emotion_lightning.callbacks import EMA, RunCheckpoint, Unfreeze
from emotion_lightning.errors import DataError, UsageError
from emotion_lightning.runs.checkpoint_io import AtomicCheckpointIO
from tests.helpers import Lab


def test_best_last_and_every_few_epochs(lab: Lab, tmp_path: Path) -> None:
    callbacks = [Unfreeze({0: "all"}), EMA(0.9), RunCheckpoint(every_n_epochs=2)]
    lab.trainer(callbacks=callbacks, max_epochs=5).fit(lab.model(), lab.data())
    folder = tmp_path / "run" / "checkpoints"
    assert sorted(path.name for path in folder.iterdir()) == [
        "best.ckpt",
        "epoch_001.ckpt",
        "epoch_003.ckpt",
        "last.ckpt",
    ]
    epochs = {path.name: torch.load(path, weights_only=True)["epoch"] for path in folder.iterdir()}
    assert (epochs["last.ckpt"], epochs["epoch_001.ckpt"], epochs["epoch_003.ckpt"]) == (4, 1, 3)


def test_unwritable_folder_is_said_before_training(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file where the folder should be")
    model, trainer = lab.model(), lab.trainer()
    with pytest.raises(DataError, match=r"run/checkpoints.*`default_root_dir`"):
        trainer.fit(model, lab.data())
    assert trainer.global_step == 0


def test_trainer_writes_through_it(lab: Lab) -> None:
    trainer = lab.trainer(max_epochs=1)
    trainer.fit(lab.model(), lab.data())
    assert isinstance(trainer.strategy.checkpoint_io, AtomicCheckpointIO)


def test_what_a_killed_run_left_is_removed(lab: Lab, tmp_path: Path) -> None:
    orphan = tmp_path / "run" / "checkpoints" / ".last.ckpt.123.tmp"
    orphan.parent.mkdir(parents=True)
    orphan.touch()
    lab.trainer(max_epochs=1).fit(lab.model(), lab.data())
    assert not orphan.exists()


def test_negative_interval_is_refused() -> None:
    with pytest.raises(UsageError, match="every_n_epochs` -1"):
        RunCheckpoint(every_n_epochs=-1)


def test_another_runs_checkpoints_are_not_written_over(lab: Lab, tmp_path: Path) -> None:
    lab.trainer(max_epochs=1).fit(lab.model(), lab.data())
    before = (tmp_path / "run" / "checkpoints" / "last.ckpt").read_bytes()
    with pytest.raises(DataError, match=r"run/checkpoints holds the checkpoints of another run"):
        lab.trainer(max_epochs=1).fit(lab.model(), lab.data())
    assert (tmp_path / "run" / "checkpoints" / "last.ckpt").read_bytes() == before


def test_a_best_of_a_later_epoch_is_kept_when_an_earlier_one_is_resumed(lab: Lab, tmp_path: Path) -> None:
    lab.trainer().fit(lab.model(), lab.data())
    folder = tmp_path / "run" / "checkpoints"
    best = torch.load(folder / "best.ckpt", weights_only=True)
    best["epoch"] = 2
    torch.save(best, folder / "best.ckpt")
    lab.trainer().fit(lab.model(), lab.data(), ckpt_path=folder / "epoch_000.ckpt")
    assert torch.load(folder / "best_epoch_002.ckpt", weights_only=True)["epoch"] == 2
    assert (folder / "best.ckpt").is_file()


def test_a_copied_run_goes_on_with_its_own_best(lab: Lab, tmp_path: Path) -> None:
    lab.trainer().fit(lab.model(), lab.data())
    shutil.copytree(tmp_path / "run", tmp_path / "copy")
    trainer = lab.trainer("copy")
    trainer.fit(lab.model(), lab.data(), ckpt_path=tmp_path / "copy" / "checkpoints" / "last.ckpt")
    assert isinstance(trainer.checkpoint_callback, RunCheckpoint)
    assert trainer.checkpoint_callback.best_model_path == str(tmp_path / "copy" / "checkpoints" / "best.ckpt")


def test_a_users_checkpoint_plugin_stays(lab: Lab) -> None:
    class Theirs(TorchCheckpointIO):
        pass

    trainer = lab.trainer(max_epochs=1, plugins=[Theirs()])
    trainer.fit(lab.model(), lab.data())
    assert isinstance(trainer.strategy.checkpoint_io, Theirs)
