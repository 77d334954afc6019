from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.optim import Optimizer

from emotion_lightning.callbacks import Unfreeze, batch_size
from emotion_lightning.callbacks.batch_size import (
    RECIPE_RATES,
    SHARE,
    images_that_fit,
    largest_batch,
    lr_scaling_hint,
    train_steps,
)
from emotion_lightning.cli import main
from emotion_lightning.errors import UsageError
from tests.helpers import QUIET, RUN, TINY, Lab


@pytest.mark.parametrize(
    ("capacity", "images", "expected"),
    [
        (None, 10**6, 16),  # no GPU
        (100, 10**6, 64),
        (128, 10**6, 128),
        (127, 10**6, 64),
        (5000, 10**6, 1024),
        (5000, 1023, 64),  # 8 steps of 127 at most
        (5000, 1024, 128),
        (2, 10**6, 2),
        (5000, 9, 2),
    ],
)
def test_a_batch_is_the_largest_power_of_two_that_memory_and_data_allow(
    capacity: int | None, images: int, expected: int
) -> None:
    assert largest_batch(capacity, 224, images) == expected


@pytest.mark.parametrize("capacity", [0, 1])
def test_a_gpu_without_room_for_a_batch_is_refused(capacity: int) -> None:
    with pytest.raises(UsageError, match=r"`batch_size=auto`: not even two images of 224 pixels"):
        largest_batch(capacity, 224, 1000)


def test_every_image_takes_as_much_memory_as_any_other() -> None:
    def peak(count: int) -> int:
        return 700 + 30 * count

    assert images_that_fit(peak, round((700 + 30 * 250) / SHARE) + 1) == 250
    assert images_that_fit(peak, round((700 + 30 * 5) / SHARE) + 1) == 5
    assert images_that_fit(peak, 700) == 0
    assert images_that_fit(lambda count: 700, 10**9) > 10**6  # a peak that does not grow sets no bound


@pytest.mark.parametrize(("most", "expected"), [(16, 9), (8, 9), (4, 9), (3, 0), (1, 0)])
def test_smaller_batches_are_tried_where_memory_runs_out(most: int, expected: int) -> None:
    def peak(count: int) -> int:
        if count > most:
            raise torch.OutOfMemoryError
        return 100 * count

    assert images_that_fit(peak, round(950 / SHARE)) == expected


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "bf16-true"])
def test_a_trial_leaves_model_and_generator_as_they_were(lab: Lab, precision: str) -> None:
    model, trainer = lab.model(), lab.trainer(precision=precision)
    model.set_trainable(("classifier", "layer4"))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    trains = [parameter.requires_grad for parameter in model.parameters()]
    state = torch.random.get_rng_state()
    train_steps(trainer, model, 4, 32, torch.device("cpu"))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [module.training for module in model.modules()] == modes
    assert [parameter.requires_grad for parameter in model.parameters()] == trains
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_gpu_holds_what_is_left_after_the_weights(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer: Any = SimpleNamespace(strategy=SimpleNamespace(root_device=torch.device("cuda")))
    allocated, peaks, free = 5_000, [0], 10**9

    def work(trainer: object, model: object, count: int, side: int, device: torch.device) -> None:
        peaks[0] = allocated + 4_000_000 + 10_000 * count

    fakes = {
        "empty_cache": lambda: None,
        "mem_get_info": lambda device: (free, 2 * free),
        "memory_allocated": lambda device: allocated,
        "max_memory_allocated": lambda device: peaks[0],
        "reset_peak_memory_stats": lambda device: peaks.__setitem__(0, allocated),
    }
    for name, fake in fakes.items():
        monkeypatch.setattr(torch.cuda, name, fake)
    monkeypatch.setattr(batch_size, "train_steps", work)
    monkeypatch.setattr(batch_size, "_least_of_ranks", lambda trainer, number: number)
    expected = (SHARE * free - 4_000_000) / 10_000
    assert batch_size.memory_capacity(trainer, lab.model(), 64) == pytest.approx(expected, abs=1)


def test_adams_rule_is_the_square_root() -> None:
    said = lr_scaling_hint(RECIPE_RATES, 32, 2, 4)
    assert said is not None
    assert "256 images (32 x 2 accumulated x 4 devices)" in said
    assert said.endswith("`lr_backbone=4e-05` `lr_classifier=0.004`")
    assert "`lr_classifier=0.0007" in str(lr_scaling_hint(RECIPE_RATES, 8, 1, 1))  # fewer images, lower rates
    assert lr_scaling_hint(RECIPE_RATES, 4, 2, 2) is None
    assert lr_scaling_hint(RECIPE_RATES | {"lr_backbone": 1e-3}, 64, 1, 1) is None
    assert lr_scaling_hint({}, 64, 1, 1) is None  # another model's


@pytest.mark.usefixtures("in_an_empty_folder")
def test_what_auto_found_is_a_number_from_then_on(
    faces: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sides: list[int] = []
    monkeypatch.setattr(batch_size, "memory_capacity", lambda trainer, model, side: sides.append(side) or 100)
    recipe = ["--model.lr_backbone", "1e-5", "--model.lr_classifier", "1e-3"]
    auto = ["--data.batch_size", "auto", "--data.resolution_schedule", "{0: 24, 1: 32}"]
    with caplog.at_level("INFO", "lightning.pytorch"):
        main(["fit", "--data.root", str(faces), *TINY, *recipe, *auto, "--checkpoint.every_n_epochs", "1", *QUIET])
    [line] = [line for line in caplog.messages if "Batches: " in line]
    assert "--data.batch_size auto is 4; a step has 4 images (4 x 1 accumulated x 1 devices)" in line  # 48 // 8 is 6
    assert sides == [32]
    assert yaml.safe_load((RUN / "config.yaml").read_text())["data"]["batch_size"] == 4
    assert yaml.safe_load((RUN / "hparams.yaml").read_text())["batch_size"] == 4
    checkpoint = torch.load(RUN / "checkpoints" / "epoch_000.ckpt", weights_only=True)
    assert checkpoint["datamodule_hyper_parameters"]["batch_size"] == 4
    assert yaml.safe_load(checkpoint["config"])["data"]["batch_size"] == 4

    monkeypatch.setattr(batch_size, "memory_capacity", lambda *_: pytest.fail("measured again"))
    main(["fit", "--ckpt_path", str(RUN / "checkpoints" / "epoch_000.ckpt"), *QUIET])
    assert torch.load(RUN / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 36
    main(["test", "--ckpt_path", str(RUN / "checkpoints" / "last.ckpt"), *QUIET])


def test_without_a_gpu_auto_is_the_recipes_and_nothing_is_said_of_it(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    data = lab.data(batch_size="auto")
    with caplog.at_level("INFO", "lightning.pytorch"):
        lab.trainer(max_epochs=1).fit(lab.model(lr_backbone=1e-5, lr_classifier=1e-3), data)
    assert [line for line in caplog.messages if "Batches" in line] == ["Batches: `batch_size=auto` is 16"]
    assert (data.batch_size, data.hparams["batch_size"], data.hparams_initial["batch_size"]) == (16, 16, 16)


class Rates(Callback):
    """Keeps the learning rates of each optimizer step."""

    def __init__(self) -> None:
        self.rates: list[tuple[float, float]] = []

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        groups = {group["name"]: group["lr"] for group in optimizer.param_groups}
        self.rates.append((groups["stem"], groups["classifier"]))


def test_accumulated_batches_count_as_one_step_of_the_schedule(lab: Lab) -> None:
    def rates(folder: str, batch: int, accumulated: int) -> list[tuple[float, float]]:
        seen = Rates()
        options = {"callbacks": [Unfreeze({0: "all"}), seen], "accumulate_grad_batches": accumulated}
        lab.trainer(folder, **options).fit(lab.model(), lab.data(batch_size=batch))
        return seen.rates

    accumulated, large, small = rates("accumulated", 8, 2), rates("large", 16, 1), rates("small", 8, 1)
    assert accumulated == large
    assert (len(accumulated), len(small)) == (9, 18)
    assert max(accumulated) == pytest.approx((1e-3, 1e-2))
    assert accumulated[-1] == pytest.approx((1e-3 / 25e4, 1e-2 / 25e4))
