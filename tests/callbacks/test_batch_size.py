import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.optim import Optimizer

from emotion_lightning.callbacks import Unfreeze, batch_size
from emotion_lightning.callbacks.batch_size import RECIPE_RATES, evaluation_batch, rate_rule, training_batch
from emotion_lightning.cli import main
from emotion_lightning.errors import UsageError
from emotion_lightning.model.module import EmotionClassifier
from tests.helpers import QUIET, RUN, TINY, Lab

ANY: Any = None


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
    monkeypatch: pytest.MonkeyPatch, capacity: int | None, images: int, expected: int
) -> None:
    monkeypatch.setattr(batch_size, "training_capacity", lambda trainer, side: capacity)
    assert training_batch(ANY, 224, images) == expected


@pytest.mark.parametrize("capacity", [0, 1])
def test_a_gpu_without_room_for_a_batch_is_said(monkeypatch: pytest.MonkeyPatch, capacity: int) -> None:
    monkeypatch.setattr(batch_size, "training_capacity", lambda trainer, side: capacity)
    with pytest.raises(UsageError, match=r"`batch_size=auto`: not even two images of 224 pixels"):
        training_batch(ANY, 224, 1000)


@pytest.mark.parametrize(
    ("capacity", "training", "expected"),
    [(None, 16, 32), (100, 16, 64), (5000, 16, 256), (10, 16, 32), (0, 2, 4), (5000, 200, 400)],
)
def test_evaluation_batches_are_no_smaller_than_the_recipes(
    monkeypatch: pytest.MonkeyPatch, lab: Lab, capacity: int | None, training: int, expected: int
) -> None:
    monkeypatch.setattr(batch_size, "evaluation_capacity", lambda trainer, side: capacity)
    assert evaluation_batch(lab.trainer(), 224, training) == expected
    assert evaluation_batch(None, 224, training) == 2 * training


def test_adams_rule_is_the_square_root() -> None:
    said = rate_rule(RECIPE_RATES, 32, 2, 4)
    assert said is not None
    assert "256 images (32 x 2 accumulated x 4 devices)" in said
    assert said.endswith("--model.lr_backbone 4e-05 --model.lr_classifier 0.004")
    assert "`lr_classifier=0.0007" in str(rate_rule(RECIPE_RATES, 8, 1, 1))  # fewer images, lower rates
    assert rate_rule(RECIPE_RATES, 4, 2, 2) is None
    assert rate_rule(RECIPE_RATES | {"lr_backbone": 1e-3}, 64, 1, 1) is None
    assert rate_rule({}, 64, 1, 1) is None  # another model's


def test_the_rates_of_the_recipe_are_the_defaults() -> None:
    defaults = inspect.signature(EmotionClassifier).parameters
    assert {name: defaults[name].default for name in RECIPE_RATES} == RECIPE_RATES


@pytest.mark.usefixtures("in_an_empty_folder")
def test_what_auto_found_is_a_number_from_then_on(
    faces: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sides: list[int] = []
    monkeypatch.setattr(batch_size, "training_capacity", lambda trainer, side: sides.append(side) or 100)
    recipe = ["--model.lr_backbone", "1e-5", "--model.lr_classifier", "1e-3"]
    auto = ["--data.batch_size", "auto", "--data.resolution_schedule", "{0: 24, 1: 32}"]
    with caplog.at_level("INFO", "lightning.pytorch"):
        main(["fit", "--data.root", str(faces), *TINY, *recipe, *auto, "--checkpoint.every_n_epochs", "1", *QUIET])
    [line] = [line for line in caplog.messages if "Batches: " in line]
    assert "`batch_size=auto` is 4; a step has 4 images (4 x 1 accumulated x 1 devices)" in line  # 48 // 8 is 6
    assert sides == [32]
    assert yaml.safe_load((RUN / "config.yaml").read_text())["data"]["batch_size"] == 4
    assert yaml.safe_load((RUN / "hparams.yaml").read_text())["batch_size"] == 4
    checkpoint = torch.load(RUN / "checkpoints" / "epoch_000.ckpt", weights_only=True)
    assert checkpoint["datamodule_hyper_parameters"]["batch_size"] == 4
    assert yaml.safe_load(checkpoint["config"])["data"]["batch_size"] == 4

    monkeypatch.setattr(batch_size, "training_capacity", lambda *_: pytest.fail("measured again"))
    main(["fit", "--ckpt_path", str(RUN / "checkpoints" / "epoch_000.ckpt"), *QUIET])
    assert torch.load(RUN / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 36
    main(["test", "--ckpt_path", str(RUN / "checkpoints" / "last.ckpt"), *QUIET])


def test_without_a_gpu_auto_is_the_recipes_and_nothing_is_said_of_it(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    data = lab.data(batch_size="auto")
    with caplog.at_level("INFO", "lightning.pytorch"):
        lab.trainer(max_epochs=1).fit(lab.model(lr_backbone=1e-5, lr_classifier=1e-3), data)
    assert [line for line in caplog.messages if "Batches" in line] == ["Batches: --data.batch_size auto is 16"]
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
