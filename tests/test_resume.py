import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from emotion_lightning.callbacks import EMA, EarlyStopping, RunCheckpoint, Unfreeze
from emotion_lightning.errors import DataError, UsageError
from emotion_lightning.model.module import EmotionClassifier
from tests.helpers import Lab, assert_equal


class Snapshot(Callback):
    """Keeps the run's folder as it was after each epoch, where a kill would have left it."""

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        run = Path(trainer.default_root_dir)
        if trainer.current_epoch and run.name == "whole":
            shutil.copytree(run, run.parent / f"after_{trainer.current_epoch - 1}")


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_resumed_run_equals_an_uninterrupted_one_to_the_bit(
    lab: Lab, tmp_path: Path, workers: int, precision: str
) -> None:
    def trainer(folder: str) -> Trainer:
        schedule = {0: "classifier_only", 1: "layer4", 2: "all_layers"}
        patient = EarlyStopping(patience=3, min_delta=0.9, start_epoch=2)  # nothing satisfies it, so that it counts
        callbacks = [Unfreeze(schedule), EMA(0.9), patient, RunCheckpoint(every_n_epochs=1), Snapshot()]
        return lab.trainer(folder, max_epochs=5, precision=precision, callbacks=callbacks)

    trainer("whole").fit(lab.model(), lab.data(num_workers=workers))
    folder = tmp_path / "whole" / "checkpoints"
    for epoch in (0, 1, 3):
        torch.manual_seed(epoch + 77)  # whatever else was drawn in the meantime
        killed = tmp_path / f"after_{epoch}"
        trainer(killed.name).fit(
            lab.model(), lab.data(num_workers=workers), ckpt_path=killed / "checkpoints" / "last.ckpt"
        )
        waited = torch.load(folder / "last.ckpt", weights_only=True)["callbacks"]
        assert next(state for name, state in waited.items() if "EarlyStopping" in name)["wait_count"] == 3
        again = killed / "checkpoints"
        for later in range(epoch + 1, 5):
            name = f"epoch_{later:03d}.ckpt"
            expected, found = (torch.load(f / name, weights_only=True) for f in (folder, again))
            for key in (
                "state_dict",
                "raw_state_dict",
                "optimizer_states",
                "lr_schedulers",
                "callbacks",
                "EmotionDataModule",
            ):
                assert_equal(expected[key], found[key], f"{name}:{key}")


def test_a_resumed_run_equals_an_uninterrupted_one_when_its_images_grow(lab: Lab, tmp_path: Path) -> None:
    def fit(folder: str, ckpt_path: Path | None = None) -> dict[str, Any]:
        data = lab.data(resolution_schedule={0: 24, 1: 28, 2: 32})
        lab.trainer(folder, max_epochs=4).fit(lab.model(), data, ckpt_path=ckpt_path)
        state: dict[str, Any] = torch.load(tmp_path / folder / "checkpoints" / "last.ckpt", weights_only=True)
        return state

    whole = fit("whole")
    for epoch in (0, 1):
        resumed = fit(f"from_{epoch}", tmp_path / "whole" / "checkpoints" / f"epoch_{epoch:03d}.ckpt")
        for key in ("state_dict", "raw_state_dict", "optimizer_states", "lr_schedulers"):
            assert_equal(whole[key], resumed[key], key)


def test_workers_do_not_change_the_weights(lab: Lab) -> None:
    states = []
    for workers in (0, 2):
        model = lab.model()
        lab.trainer(f"workers_{workers}").fit(model, lab.data(num_workers=workers))
        states.append(model.state_dict())
    assert_equal(dict(states[0]), dict(states[1]))


def test_another_seed_changes_the_weights(lab: Lab) -> None:
    states = []
    for seed in (1, 2):
        model = lab.model(seed=seed)
        lab.trainer(f"seed_{seed}", max_epochs=1).fit(model, lab.data(seed=seed))
        states.append(model.state_dict())
    assert any(not torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_resume_under_another_schedule_is_refused(lab: Lab, tmp_path: Path) -> None:
    lab.trainer().fit(lab.model(), lab.data())
    longer = lab.trainer("longer", max_epochs=5)
    with pytest.raises(UsageError, match="18 steps, this one 30"):
        longer.fit(lab.model(), lab.data(), ckpt_path=tmp_path / "run" / "checkpoints" / "epoch_000.ckpt")


def test_a_resume_on_other_data_is_refused(lab: Lab, tmp_path: Path, faces: Path) -> None:

    lab.trainer().fit(lab.model(), lab.data())
    other = shutil.copytree(faces, tmp_path / "other")
    shutil.move(other / "train" / "happy" / "00.png", other / "val" / "happy" / "new.png")
    with pytest.raises(DataError, match=r"other, .*splits\.csv"):
        lab.trainer("again").fit(
            lab.model(), lab.data(root=str(other)), ckpt_path=tmp_path / "run" / "checkpoints" / "epoch_000.ckpt"
        )


def test_a_checkpoint_of_other_classes_is_refused(lab: Lab, tmp_path: Path) -> None:
    lab.trainer(max_epochs=1).fit(lab.model(), lab.data())
    other = lab.model(class_names=["angry", "happy", "sad"])
    with pytest.raises(DataError, match="sad"):
        lab.trainer("test").test(other, lab.data(), ckpt_path=tmp_path / "run" / "checkpoints" / "last.ckpt")


def test_a_checkpoint_that_would_run_code_is_refused(lab: Lab, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[Path]]:
            return Path.touch, (tmp_path / "ran",)

    torch.save({"state_dict": {}, "evil": Evil()}, tmp_path / "evil.ckpt")
    with pytest.raises(DataError, match=r"evil\.ckpt: holds more than plain data"):
        EmotionClassifier.load_from_checkpoint(tmp_path / "evil.ckpt")
    assert not (tmp_path / "ran").exists()


def test_every_written_checkpoint_loads_without_running_code(lab: Lab, tmp_path: Path) -> None:
    callbacks = [Unfreeze({0: "all"}), EMA(0.9), EarlyStopping(), RunCheckpoint(every_n_epochs=1)]
    lab.trainer(callbacks=callbacks, max_epochs=1).fit(lab.model(), lab.data())
    for path in (tmp_path / "run" / "checkpoints").iterdir():
        torch.load(path, weights_only=True)
