import os
import shutil
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import Callback, LightningModule, Trainer
from PIL import Image

from emotion_lightning.batch import normalize
from emotion_lightning.data import loaders as loaders_file
from emotion_lightning.data.images.decode import open_image, to_tensor
from emotion_lightning.data.sources.layouts.ferplus import CLASSES
from emotion_lightning.errors import UsageError
from tests.data.files import ferplus, ferplus_votes
from tests.helpers import Batches, Lab


def batches(lab: Lab, folder: str, **options: Any) -> Batches:
    seen = Batches()
    lab.trainer(folder, callbacks=[seen], max_epochs=2).fit(lab.model(), lab.data(**options))
    return seen


def test_same_seed_same_batches_whatever_the_workers(lab: Lab) -> None:
    alone, helped = (batches(lab, f"w{n}", num_workers=n) for n in (0, 2))
    assert alone.indices == helped.indices
    assert all(torch.equal(a, b) for a, b in zip(alone.images, helped.images, strict=True))
    assert alone.indices[:6] != alone.indices[6:]


def test_every_epoch_image_and_seed_has_draws_of_its_own(lab: Lab) -> None:
    def drawn(epoch: int, seed: int = 42) -> torch.Tensor:
        data = lab.data(seed=seed)
        data.trainer = cast(Trainer, SimpleNamespace(training=True, current_epoch=epoch))
        indices = torch.tensor([5, 2, 9])
        found: torch.Tensor = data.on_before_batch_transfer((torch.zeros(3), torch.zeros(3), indices), 0)[3]
        return found

    assert torch.equal(drawn(3), drawn(3))
    for other in (drawn(4), drawn(3, seed=43), drawn(3).roll(1, 0)):
        assert (drawn(3) != other).float().mean() > 0.99


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
    plain = loaders_file.augment

    def watch(images: torch.Tensor, drawn: torch.Tensor, phase: Any, *rest: Any) -> torch.Tensor:
        phases.append(next(number for number, known in loaders_file.POLICIES.items() if known is phase))
        return plain(images, drawn, phase, *rest)

    monkeypatch.setattr(loaders_file, "augment", watch)
    checkpoint = tmp_path / "run" / "checkpoints" / "epoch_001.ckpt" if resumed else None
    data = lab.data(num_workers=workers, unfreeze_epoch=3)
    lab.trainer("again", max_epochs=4).fit(lab.model(), data, ckpt_path=checkpoint)
    assert phases == ([1] * 6 if resumed else [1] * 18) + [2] * 6


@pytest.mark.parametrize(("augmentation", "phase"), [("basic", 0), ("conservative", 1), ("aggressive", 2)])
def test_an_augmentation_that_was_chosen_stays_whatever_is_unfrozen(lab: Lab, augmentation: str, phase: int) -> None:
    data = lab.data(augmentation=augmentation, unfreeze_epoch=1)
    data._training = lambda: True  # type: ignore[method-assign]
    images, indices = torch.randint(0, 256, (4, 3, 41, 41), dtype=torch.uint8), torch.arange(4)
    for epoch in (0, 1, 2):
        data._epoch = lambda epoch=epoch: epoch  # type: ignore[method-assign, misc]
        drawn = data.on_before_batch_transfer((images, indices, indices), 0)
        expected = loaders_file.augment(images, drawn[3], loaders_file.POLICIES[phase], 32)
        assert torch.equal(data.on_after_batch_transfer(drawn, 0)[0], expected)


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


def test_evaluation_only_resizes_and_normalizes(lab: Lab, faces: Path) -> None:
    class Seen(Callback):
        images: list[torch.Tensor] = []  # noqa: RUF012

        def on_validation_batch_start(
            self, trainer: Trainer, pl_module: LightningModule, batch: Any, *args: Any
        ) -> None:
            self.images.append(batch[0])

    seen = Seen()
    model = lab.model()
    lab.trainer(callbacks=[seen]).validate(model, lab.data(image_size=24), verbose=False)
    files = sorted((faces / "val").rglob("*.png"))
    pixels = torch.stack([to_tensor(open_image(file), 24) for file in files])
    expected = normalize(pixels.float() / 255, model.normalization)
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
    with pytest.raises(UsageError, match="batch_size` 64 is more than the 48"):
        lab.trainer().fit(lab.model(), lab.data(batch_size=64))


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_training_is_given_the_votes_and_measuring_their_majority(lab: Lab, tmp_path: Path, workers: int) -> None:
    root = str(ferplus(tmp_path, ferplus_votes()))
    data = lab.data(root=root, fer_plus="probabilities", num_workers=workers, class_names=CLASSES[::-1])
    [(_, votes, indices), _] = data.train_dataloader()
    assert data.manifest.votes is not None
    assert votes.tolist() == [list(data.manifest.votes[index]) for index in indices]
    assert votes.sum(dim=1).tolist() == [10] * 8
    [(_, labels, indices)] = data.val_dataloader()
    assert labels.tolist() == [data.manifest.labels[index] for index in indices]
    [(_, labels, indices), _] = lab.data(root=root, num_workers=workers).train_dataloader()
    assert labels.tolist() == [index % 8 for index in indices]


def test_what_makes_up_for_rare_classes_counts_majorities(lab: Lab, tmp_path: Path) -> None:
    rows = ferplus_votes()
    root = str(ferplus(tmp_path, [rows[0]] * 8 + rows))
    soft, hard = (lab.data(root=root, fer_plus=kind, balance="loss") for kind in ("probabilities", "majority"))
    assert soft.logit_adjustment is not None
    assert torch.equal(soft.logit_adjustment, hard.logit_adjustment)
    assert soft.logit_adjustment.exp().tolist() == pytest.approx([10 / 24, *[2 / 24] * 7])
    drawn = [
        list(lab.data(root=root, fer_plus=kind, balance="sampler").train_dataloader().sampler)
        for kind in ("probabilities", "majority")
    ]
    assert drawn[0] == drawn[1]


def test_a_file_is_asked_once_for_its_state_when_its_image_is_in_the_cache(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.data().train_dataloader()  # fills the cache
    asked, stat = Counter[str](), os.stat
    monkeypatch.setattr(os, "stat", lambda path, **how: (asked.update([str(path)]), stat(path, **how))[1])
    data = lab.data()
    data.setup("fit")
    next(iter(data.train_dataloader()))
    images = {str(path) for path in data.manifest.paths or ()}
    assert {asked[image] for image in images} == {1}
