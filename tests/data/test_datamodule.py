import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import Callback, LightningModule, Trainer
from PIL import Image

from emotion_lightning.batch import normalize
from emotion_lightning.data import datamodule as datamodule_file
from emotion_lightning.data.datamodule import EmotionDataModule
from emotion_lightning.data.images.decode import open_image, to_tensor
from emotion_lightning.errors import DataError, UsageError
from tests.helpers import Lab


class Batches(Callback):
    """Keeps what the model was given in training."""

    def __init__(self) -> None:
        self.images: list[torch.Tensor] = []
        self.indices: list[list[int]] = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self.images.append(batch[0].clone())
        self.indices.append(batch[2].tolist())


def batches(lab: Lab, folder: str, **options: Any) -> Batches:
    seen = Batches()
    lab.trainer(folder, callbacks=[seen], max_epochs=2).fit(lab.model(), lab.data(**options))
    return seen


def test_same_seed_same_batches_whatever_the_workers(lab: Lab) -> None:
    alone, helped = (batches(lab, f"w{n}", num_workers=n) for n in (0, 2))
    assert alone.indices == helped.indices
    assert all(torch.equal(a, b) for a, b in zip(alone.images, helped.images, strict=True))
    assert alone.indices[:6] != alone.indices[6:]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("resumed", [False, True])
def test_phase_changes_in_the_very_epoch_also_in_persistent_workers_and_after_a_resume(
    lab: Lab,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    workers: int,
    resumed: bool,
) -> None:
    lab.trainer(max_epochs=4).fit(lab.model(), lab.data())
    phases: list[int] = []
    plain = datamodule_file.augment

    def watch(images: torch.Tensor, drawn: torch.Tensor, phase: Any, size: int) -> torch.Tensor:
        phases.append(next(number for number, known in datamodule_file.PHASES.items() if known is phase))
        return plain(images, drawn, phase, size)

    monkeypatch.setattr(datamodule_file, "augment", watch)
    checkpoint = tmp_path / "run" / "checkpoints" / "epoch_001.ckpt" if resumed else None
    data = lab.data(num_workers=workers, unfreeze_epoch=3)
    lab.trainer("again", max_epochs=4).fit(lab.model(), data, ckpt_path=checkpoint)
    assert phases == ([1] * 6 if resumed else [1] * 18) + [2] * 6


@pytest.mark.parametrize("resumed", [False, True])
def test_training_images_have_the_side_of_the_epoch_and_validation_ones_never(
    lab: Lab, tmp_path: Path, resumed: bool
) -> None:
    class Sides(Callback):
        def __init__(self) -> None:
            self.seen: dict[tuple[str, int], set[tuple[int, ...]]] = {}

        def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, *args: Any) -> None:
            self.seen.setdefault(("train", trainer.current_epoch), set()).add(tuple(batch[0].shape))

        def on_validation_batch_start(
            self, trainer: Trainer, pl_module: LightningModule, batch: Any, *args: Any
        ) -> None:
            self.seen.setdefault(("val", trainer.current_epoch), set()).add(tuple(batch[0].shape[1:]))

    schedule, sides = {0: 24, 2: 28, 3: 32}, Sides()
    data = {"resolution_schedule": schedule, "num_workers": 2 * resumed}
    lab.trainer(max_epochs=4).fit(lab.model(), lab.data(**data))
    checkpoint = tmp_path / "run" / "checkpoints" / "epoch_000.ckpt" if resumed else None
    lab.trainer("again", max_epochs=4, callbacks=[sides]).fit(lab.model(), lab.data(**data), ckpt_path=checkpoint)
    expected = {0: 24, 1: 24, 2: 28, 3: 32}
    for epoch in range(1 if resumed else 0, 4):
        assert sides.seen["train", epoch] == {(8, 3, expected[epoch], expected[epoch])}
        assert sides.seen["val", epoch] == {(3, 32, 32)}


def test_smaller_training_images_are_made_of_the_same_draws(lab: Lab) -> None:
    large = batches(lab, "large", image_size=48)
    small = batches(lab, "small", image_size=48, resolution_schedule={0: 24, 1: 48})
    assert small.indices == large.indices
    for big, little in zip(large.images[:6], small.images[:6], strict=True):
        assert tuple(little.shape[2:]) == (24, 24)
        halved = F.avg_pool2d(big, 2)
        assert (little - halved).abs().mean() < 0.3 * (halved - halved.roll(1, 0)).abs().mean()
    assert all(torch.equal(a, b) for a, b in zip(large.images[6:], small.images[6:], strict=True))


def test_sizes_that_the_run_never_reaches_are_named(lab: Lab) -> None:
    with pytest.warns(UserWarning, match=r"--data\.resolution_schedule has entries at epochs \[3\].*max_epochs 1"):
        lab.trainer(max_epochs=1).fit(lab.model(), lab.data(resolution_schedule={0: 24, 3: 32}))


def test_evaluation_only_resizes_and_normalizes(lab: Lab, faces: Path) -> None:
    class Seen(Callback):
        images: list[torch.Tensor] = []  # noqa: RUF012

        def on_validation_batch_start(
            self, trainer: Trainer, pl_module: LightningModule, batch: Any, *args: Any
        ) -> None:
            self.images.append(batch[0])

    seen = Seen()
    lab.trainer(callbacks=[seen]).validate(lab.model(), lab.data(image_size=24), verbose=False)
    files = sorted((faces / "val").rglob("*.png"))
    expected = torch.stack([normalize(to_tensor(open_image(file), 24)[None].float() / 255)[0] for file in files])
    assert torch.equal(torch.cat(seen.images), expected)
    assert len(seen.images[0]) == 16  # twice the training batch


@pytest.mark.parametrize(("largest", "side"), [((20, 28), 28), ((33, 20), 33), ((200, 90), 41)])
def test_images_go_to_the_device_as_small_as_all_of_them_are(
    lab: Lab, faces: Path, tmp_path: Path, largest: tuple[int, int], side: int
) -> None:
    root = shutil.copytree(faces, tmp_path / "small")
    for path in root.rglob("*.png"):
        Image.open(path).resize((20, 20)).save(path)
    first = next((root / "train").rglob("*.png"))
    Image.open(first).resize(largest).save(first)
    data = lab.data(
        root=str(root), leaks="report", conflicts="report", image_size=32
    )  # for which phase 2 needs 41 pixels
    data.setup("fit")
    assert next(iter(data.train_dataloader()))[0].shape[2:] == (side, side)
    assert next(iter(data.val_dataloader()))[0].shape[2:] == (32, 32)


@pytest.mark.parametrize("options", [{}, {"cache_gb": 0.0}, {"test_split": "train"}], ids=str)
def test_large_photographs_are_the_same_however_they_come(lab: Lab, tmp_path: Path, options: dict[str, Any]) -> None:
    noise = np.random.default_rng(0)
    for name in ("train/angry/0", "train/happy/0", "val/angry/1", "val/happy/1"):
        path = tmp_path / "photographs" / f"{name}.jpg"
        path.parent.mkdir(parents=True)
        blobs = Image.fromarray(noise.integers(0, 256, (30, 40, 3), np.uint8))
        blobs.resize((1200, 1000), Image.Resampling.BICUBIC).save(path)
    data = lab.data(root=str(tmp_path / "photographs"), image_size=112, batch_size=2, **options)
    for loader, side in ((data.train_dataloader(), 144), (data.val_dataloader(), 112)):  # halved, and quartered
        images, _, indices = next(iter(loader))
        paths = [data.manifest.paths[index] for index in indices]  # type: ignore[index]
        assert torch.equal(images, torch.stack([to_tensor(open_image(path, side), side) for path in paths]))


def test_the_last_incomplete_training_batch_is_dropped(lab: Lab) -> None:
    data = lab.data(batch_size=9)
    assert [len(labels) for _, labels, _ in data.train_dataloader()] == [9] * 5


def test_a_cut_is_saved_with_the_run_and_can_be_used_again(lab: Lab, tmp_path: Path, faces: Path) -> None:
    flat = tmp_path / "flat"
    shutil.copytree(faces / "train", flat)
    data = EmotionDataModule(str(flat), image_size=32, batch_size=8, num_workers=0)
    lab.trainer(max_epochs=1).fit(lab.model(), data)
    saved = tmp_path / "run" / "splits.csv"
    before = saved.read_bytes()
    shutil.copy(faces / "val" / "happy" / "00.png", flat / "happy" / "new.png")
    changed = EmotionDataModule(str(flat), image_size=32, batch_size=8, num_workers=0)
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    with pytest.raises(DataError, match=r"splits\.csv"):
        lab.trainer(max_epochs=1).fit(lab.model(), changed, ckpt_path=last)
    assert saved.read_bytes() == before  # a refused resume leaves the cut as it was
    (flat / "happy" / "new.png").unlink()
    again = EmotionDataModule(str(flat), image_size=32, batch_size=8, num_workers=0, seed=7, splits_file=str(saved))
    other = EmotionDataModule(str(flat), image_size=32, batch_size=8, num_workers=0, seed=7)
    assert again.manifest.fingerprint() == data.manifest.fingerprint() != other.manifest.fingerprint()


def test_a_test_split_cut_anew_from_changed_images_is_refused(lab: Lab, tmp_path: Path, faces: Path) -> None:
    flat = tmp_path / "flat"
    shutil.copytree(faces / "train", flat)
    options = {"root": str(flat), "image_size": 32, "batch_size": 8, "num_workers": 0}
    lab.trainer(max_epochs=1).fit(lab.model(), EmotionDataModule(**options))
    shutil.copy(faces / "val" / "happy" / "00.png", flat / "happy" / "new.png")
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    with pytest.raises(DataError, match=r"splits\.csv"):
        lab.trainer("test").test(lab.model(), EmotionDataModule(**options), ckpt_path=last, verbose=False)
    kept = EmotionDataModule(**options, splits_file=str(tmp_path / "run" / "splits.csv"))
    lab.trainer("kept").test(lab.model(), kept, ckpt_path=last, verbose=False)


@pytest.fixture
def broken(tmp_path: Path, faces: Path) -> Path:
    root = tmp_path / "broken"
    shutil.copytree(faces, root)
    whole = (root / "train" / "happy" / "00.png").read_bytes()
    (root / "train" / "happy" / "00.png").write_bytes(whole[: len(whole) // 2])
    (root / "val" / "angry" / "01.png").write_text("no image")
    return root


def test_unreadable_images_stop_the_run_before_epoch_0_and_are_listed(lab: Lab, broken: Path) -> None:
    trainer = lab.trainer()
    with pytest.raises(
        DataError, match=r"2 unreadable[^$]*--data\.unreadable skip[^$]*train/happy/00\.png[^$]*val/angry/01\.png"
    ):
        trainer.fit(lab.model(), lab.data(root=str(broken)))
    assert trainer.global_step == 0


def test_skipping_leaves_them_out_and_puts_nothing_in_their_place(
    lab: Lab, broken: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(datamodule_file, "rank_zero_info", said.append)
    seen, data, model = Batches(), lab.data(root=str(broken), unreadable="skip", batch_size=5), lab.model()
    lab.trainer(callbacks=[seen], max_epochs=1).fit(model, data)
    bad = {
        index for index, name in enumerate(data.manifest.names) if name in ("train/happy/00.png", "val/angry/01.png")
    }
    assert len(bad) == 2
    assert not bad & {index for batch in seen.indices for index in batch}
    assert len(data.indices("train")) == 47
    assert model.val_outputs.outputs().confusion.sum(dim=1).tolist() == [5, 6, 6]
    assert any("train/happy/00.png" in line and "2 unreadable" in line for line in said)


def test_a_missing_test_split_says_what_to_do(lab: Lab, faces: Path, tmp_path: Path) -> None:
    root = tmp_path / "two"
    shutil.copytree(faces, root)
    shutil.rmtree(root / "test")
    with pytest.raises(DataError, match=r"no test images.*--data\.test_split val"):
        lab.trainer().test(lab.model(), lab.data(root=str(root)), verbose=False)


@pytest.mark.parametrize(
    ("name", "value"), [("image_size", 4), ("batch_size", 1), ("eval_batch_size", 0), ("num_workers", -1)]
)
def test_numbers_outside_their_range_are_refused(lab: Lab, name: str, value: int) -> None:
    with pytest.raises(UsageError, match=f"--data.{name} {value}"):
        lab.data(**{name: value})


def test_evaluation_batches_change_no_figure(lab: Lab) -> None:
    confusions = []
    for size in (1, 7, "auto"):
        model, data = lab.model(), lab.data(eval_batch_size=size)
        lab.trainer(f"of_{size}").validate(model, data, verbose=False)
        confusions.append(model.val_outputs.outputs().confusion)
        assert data.val_dataloader().batch_size == data.test_dataloader().batch_size == (16 if size == "auto" else size)
        assert data.predict_dataloader().batch_size == data.val_dataloader().batch_size
        assert data.train_dataloader().batch_size == 8
    assert torch.equal(confusions[0], confusions[1])
    assert torch.equal(confusions[0], confusions[2])


def test_a_batch_larger_than_the_data_is_refused(lab: Lab) -> None:
    with pytest.raises(UsageError, match="batch_size 64 is more than the 48"):
        lab.trainer().fit(lab.model(), lab.data(batch_size=64))


def test_every_row_of_an_unreadable_file_is_left_out(lab: Lab, broken: Path) -> None:
    rows = [f"train/{name}/{i:02d}.png,{name}" for name in ("angry", "happy", "surprised") for i in range(16)]
    (broken / "train.csv").write_text("\n".join(["filepath,label", *rows, "train/happy/00.png,happy"]))
    (broken / "val.csv").write_text("filepath,label\nval/angry/00.png,angry\nval/happy/00.png,happy\n")
    data = lab.data(root=str(broken), unreadable="skip", batch_size=5)
    lab.trainer(max_epochs=1).fit(lab.model(), data)
    assert len(data.indices("train")) == 47


def test_data_in_another_order_of_classes_is_refused(lab: Lab) -> None:
    with pytest.raises(DataError, match="class_names"):
        lab.trainer().test(lab.model(), lab.data(class_names=["surprised", "happy", "angry"]), verbose=False)


def test_model_and_data_of_different_seeds_are_refused(lab: Lab) -> None:
    with pytest.raises(UsageError, match="seed 42, the data 7"):
        lab.trainer().fit(lab.model(), lab.data(seed=7))


def test_training_never_looks_at_the_test_split(lab: Lab, faces: Path, tmp_path: Path) -> None:
    blind = tmp_path / "blind"
    shutil.copytree(faces, blind)
    for number, image in enumerate(sorted((blind / "test").rglob("*.png"))):  # the audit looks at them, and no more
        noise = np.random.default_rng(number).integers(0, 256, (32, 32, 3), np.uint8)
        Image.fromarray(noise).save(image)
    states = []
    for root in (faces, blind):
        model = lab.model()
        lab.trainer(f"from_{root.name}", max_epochs=1).fit(model, lab.data(root=str(root)))
        states.append(model.state_dict())
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_built_in_faces_leak_nothing() -> None:
    data = EmotionDataModule()
    assert data.audit is None
    leaked = data.leaked("test")
    assert leaked is not None
    assert not leaked.any()
    assert len(leaked) == len(data.manifest)
    assert data.state["compared"].startswith("nothing")
