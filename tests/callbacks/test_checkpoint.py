import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from emotion_lightning.callbacks import EMA, Calibration, EarlyStopping, RunCheckpoint, Unfreeze
from emotion_lightning.errors import DataError, UsageError
from emotion_lightning.evaluation.metrics import MONITOR
from emotion_lightning.model.module import EmotionClassifier
from emotion_lightning.runs.checkpoint_io import AtomicCheckpointIO
from emotion_lightning.runs.temporary import owner
from tests.helpers import QUIET, SCHEDULE, TINY, Lab, assert_equal, fails


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
    orphan = tmp_path / "run" / "checkpoints" / f".last.ckpt.{owner().split('.')[0]}.{2**30}.1.tmp"  # of no process
    orphan.parent.mkdir(parents=True)
    orphan.touch()
    lab.trainer(max_epochs=1).fit(lab.model(), lab.data())
    assert not orphan.exists()


@pytest.mark.parametrize("option", ["every_n_epochs", "every_n_minutes"])
def test_negative_interval_is_refused(option: str) -> None:
    with pytest.raises(UsageError, match=f"{option}` -1"):
        RunCheckpoint(**{option: -1})


@pytest.mark.parametrize(("minutes", "saved"), [(0.0, 0), (1e-9, 5), (1000.0, 0)])
def test_the_last_is_written_every_few_minutes(lab: Lab, tmp_path: Path, minutes: float, saved: int) -> None:
    class Steps(Callback):
        """Notes the step of the last checkpoint before each batch; the last batch of an epoch has none of its own."""

        def on_train_batch_start(self, trainer: Trainer, *args: Any) -> None:
            last = tmp_path / "run" / "checkpoints" / "last.ckpt"
            steps.append(torch.load(last, weights_only=True)["global_step"] if last.is_file() else 0)

    steps: list[int] = []
    callbacks = [Unfreeze({0: "all"}), RunCheckpoint(0, minutes), Steps()]
    lab.trainer(callbacks=callbacks, max_epochs=1).fit(lab.model(), lab.data())
    assert sorted(set(steps)) == list(range(saved + 1))


def test_another_runs_checkpoints_are_not_written_over(lab: Lab, tmp_path: Path) -> None:
    lab.trainer(max_epochs=1).fit(lab.model(), lab.data())
    before = (tmp_path / "run" / "checkpoints" / "last.ckpt").read_bytes()
    with pytest.raises(DataError, match=r"run/checkpoints holds the checkpoints of another run"):
        lab.trainer(max_epochs=1).fit(lab.model(), lab.data())
    assert (tmp_path / "run" / "checkpoints" / "last.ckpt").read_bytes() == before


def test_of_another_runs_checkpoints_the_last_is_resumed(lab: Lab, tmp_path: Path) -> None:
    lab.trainer(max_epochs=1).fit(lab.model(), lab.data())
    os.utime(tmp_path / "run" / "checkpoints" / "best.ckpt", (2**32, 2**32))  # written within the epoch that followed
    with pytest.raises(DataError, match=r"resume it by `ckpt_path=.*/last\.ckpt`"):
        lab.trainer(max_epochs=1).fit(lab.model(), lab.data())


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


class Validated(Callback):
    """Keeps the score and the weights of every validation."""

    def __init__(self) -> None:
        self.scores: list[float] = []
        self.weights: list[dict[str, torch.Tensor]] = []

    def on_validation_batch_start(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        self.now = {name: value.clone() for name, value in pl_module.state_dict().items()}

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.sanity_checking:
            self.scores.append(float(trainer.callback_metrics[MONITOR]))
            self.weights.append(self.now)


MOMENTS = [  # 6 batches an epoch
    {"check_val_every_n_epoch": 2},
    {"check_val_every_n_epoch": 3},
    {"val_check_interval": 0.5},
    {"val_check_interval": 4},
    {"val_check_interval": 5, "check_val_every_n_epoch": 2},
    {"val_check_interval": 8, "check_val_every_n_epoch": None},
    {"val_check_interval": 4, "accumulate_grad_batches": 4},
    {"val_check_interval": 2, "max_steps": 15, "max_epochs": -1},
    {"max_steps": 9, "max_epochs": -1},
    {"max_steps": 4, "max_epochs": -1},
    {"limit_val_batches": 0},
]


@pytest.mark.parametrize("options", MOMENTS, ids=str)
def test_the_best_checkpoint_holds_the_weights_that_were_measured(
    lab: Lab, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, checkpoint = Validated(), RunCheckpoint()
    trainer = lab.trainer(callbacks=[Unfreeze({0: "all"}), EMA(0.9), Calibration(), seen, checkpoint], **options)
    model = lab.model()
    falling = iter([0.2, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.1])
    measure = type(model).on_validation_epoch_end

    def score(module: EmotionClassifier) -> None:
        measure(module)
        if not module.trainer.sanity_checking:
            module.log(MONITOR, next(falling))

    monkeypatch.setattr(type(model), "on_validation_epoch_end", score)
    monkeypatch.setattr(EmotionClassifier, "_log_evaluation", lambda *args: None)
    trainer.fit(model, lab.data())
    if not seen.scores:
        assert (checkpoint.best_model_path, checkpoint.best_score) == ("", float("-inf"))
        return
    best = seen.scores.index(max(seen.scores))
    saved = torch.load(checkpoint.best_model_path, weights_only=True)
    assert checkpoint.best_score == seen.scores[best]
    assert checkpoint.best_epoch == saved["epoch"]
    assert_equal(saved["state_dict"], seen.weights[best])
    assert saved["calibration"]["tta"] == "none"
    last = torch.load(checkpoint.folder / "last.ckpt", weights_only=True)
    measured = any(all(torch.equal(last["state_dict"][n], v) for n, v in w.items()) for w in seen.weights)
    assert (last["calibration"]["tta"] is not None) == measured


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("logger", "left"),
    [("TensorBoardLogger", "last.ckpt"), ("CSVLogger", "best.ckpt"), ("CSVLogger", "epoch_004.ckpt")],
)
@pytest.mark.usefixtures("in_an_empty_folder")
def test_a_second_run_in_a_folder_changes_nothing_in_it(
    faces: Path, capsys: pytest.CaptureFixture[str], logger: str, left: str
) -> None:
    options = ["--trainer.logger", logger, "--trainer.logger.save_dir", ".", "--trainer.logger.version", "0"]
    folder = Path("lightning_logs/version_0/checkpoints")
    folder.mkdir(parents=True)
    (folder / left).write_bytes(b"another run's")
    (folder.parent / "splits.csv").write_text("another run's")
    before = files(Path())
    error = fails(capsys, 1, "fit", "--data.root", str(faces), *TINY, *QUIET, *options)
    assert f"holds the checkpoints of another run: resume it by --ckpt_path {folder / left}, or" in error
    assert "--trainer.default_root_dir" in error
    assert files(Path()) == before


def test_a_callback_that_has_served_a_run_forgets_it_in_the_next(lab: Lab, tmp_path: Path) -> None:
    checkpoint, ema, stopping = RunCheckpoint(), EMA(0.9), EarlyStopping(patience=1, start_epoch=0)
    alone = lab.model()
    lab.trainer("alone").fit(alone, lab.data())
    for folder in ("first", "second"):
        model = lab.model()
        lab.trainer(folder, callbacks=[Unfreeze(SCHEDULE), ema, stopping, checkpoint]).fit(model, lab.data())
        checkpoint.best_score, stopping.wait_count = 2.0, 1  # what the next run could not reach
        assert checkpoint.best_model_path == str(tmp_path / folder / "checkpoints" / "best.ckpt")
    best = torch.load(tmp_path / "second" / "checkpoints" / "best.ckpt", weights_only=True)
    assert_equal(dict(model.state_dict()), best["state_dict"])


@pytest.mark.parametrize("name", ["epoch_000.ckpt", "last.ckpt"])
def test_measuring_another_checkpoint_leaves_what_the_best_is(lab: Lab, tmp_path: Path, name: str) -> None:
    checkpoint = RunCheckpoint(every_n_epochs=1)
    trainer, model = lab.trainer(callbacks=[Unfreeze({0: "all"}), EMA(0.9), checkpoint]), lab.model()
    trainer.fit(model, lab.data())
    checkpoint.best_score = 2.0
    trainer.test(model, lab.data(), ckpt_path=tmp_path / "run" / "checkpoints" / name, verbose=False)
    assert checkpoint.best_score == 2.0


def test_a_users_own_checkpoints_beside_ours_do_not_hide_the_best(lab: Lab, tmp_path: Path) -> None:
    theirs = ModelCheckpoint(tmp_path / "theirs")
    model, ours = lab.model(), RunCheckpoint()
    trainer = lab.trainer(callbacks=[Unfreeze({0: "all"}), EMA(0.9), EarlyStopping(), theirs, ours])
    trainer.fit(model, lab.data())
    best = torch.load(tmp_path / "run" / "checkpoints" / "best.ckpt", weights_only=True)
    assert_equal(dict(model.state_dict()), best["state_dict"])


def test_a_disk_that_is_full_later_ends_the_run_with_the_last_checkpoint_whole(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = torch.save

    def full(checkpoint: dict[str, Any], file: Any) -> None:
        if checkpoint["epoch"] == 1:
            raise OSError(28, "No space left on device")
        save(checkpoint, file)

    monkeypatch.setattr(torch, "save", full)
    callbacks = [Unfreeze({0: "all"}), RunCheckpoint(every_n_epochs=0)]
    with pytest.raises(DataError, match=r"No space left on device; free space .*last\.ckpt is whole"):
        lab.trainer(callbacks=callbacks).fit(lab.model(), lab.data())
    assert torch.load(lab.folder / "run" / "checkpoints" / "last.ckpt", weights_only=True)["epoch"] == 0


def flip_bits(file: Path) -> None:
    content = bytearray(file.read_bytes())
    for place in range(len(content) // 2, len(content) // 2 + 200):  # longer than what fills a gap
        content[place] ^= 4
    file.write_bytes(content)


@pytest.mark.usefixtures("in_an_empty_folder")
def test_a_damaged_last_names_the_newest_whole_one(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flip_bits(trained / "last.ckpt")
    os.utime(trained / "epoch_001.ckpt")
    said = fails(capsys, 1, "fit", "--ckpt_path", str(trained / "last.ckpt"), *QUIET)
    assert "last.ckpt: damaged" in said
    assert f"the newest whole one there is --ckpt_path {trained / 'epoch_001.ckpt'}" in said


@pytest.mark.parametrize(("lose", "how"), [(flip_bits, "damaged"), (Path.unlink, "gone")])
def test_a_lost_best_hinders_neither_a_resume_nor_the_next_best(
    lab: Lab, tmp_path: Path, lose: Callable[[Path], None], how: str
) -> None:
    lab.trainer(max_epochs=3).fit(lab.model(), lab.data())
    folder = tmp_path / "run/checkpoints"
    best = folder / "best.ckpt"
    assert torch.load(best, weights_only=True)["epoch"] == 0
    lose(best)
    with pytest.warns(UserWarning, match=rf"best\.ckpt, of epoch 1, is {how}"):
        lab.trainer(max_epochs=3).fit(lab.model(), lab.data(), ckpt_path=folder / "epoch_001.ckpt")
    assert torch.load(best, weights_only=True)["epoch"] == 2
    lose(best)
    lab.trainer(max_epochs=3).fit(lab.model(), lab.data(), ckpt_path=folder / "epoch_000.ckpt")
    assert torch.load(best, weights_only=True)["epoch"] == 0  # which is what was resumed


class Loses(Callback):
    """Deletes the best checkpoint when the last epoch is over, as a cleaner of disks may."""

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        Path(trainer.checkpoint_callback.best_model_path).unlink()


def test_a_best_that_is_gone_at_the_end_leaves_the_last_weights_and_is_said(lab: Lab, tmp_path: Path) -> None:
    trainer = lab.trainer(max_epochs=2)
    trainer.callbacks.append(Loses())
    model = lab.model()
    with pytest.warns(UserWarning, match=r"best\.ckpt: no such file: the best weights are lost"):
        trainer.fit(model, lab.data())
    last = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)["state_dict"]
    assert_equal(dict(model.state_dict()), dict(last))
