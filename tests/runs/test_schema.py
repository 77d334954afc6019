from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from emotion_lightning.errors import DataError
from emotion_lightning.runs.schema import RESUMED, check_like, check_types
from tests.helpers import Lab

OWN = {"count": 3, "rate": 0.5, "on": True, "name": "cos", "tensor": torch.ones(2), "list": [1, 2], "open": None}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("count", -1), ("count", 1.5), ("count", True), ("rate", "x"), ("on", 1), ("name", "linear")),
        *(("tensor", torch.ones(3)), ("tensor", [1.0, 1.0]), ("list", [1]), ("list", {}), ("extra", 1)),
    ],
)
def test_a_state_of_another_form_is_named(name: str, value: Any) -> None:
    check_like(OWN | {"count": 9, "rate": 1, "open": "x"}, OWN, "state", closed=True)
    with pytest.raises(DataError, match=r"its state(\.\w+)? does not go with this run"):
        check_like({"inner": OWN | {name: value}}["inner"], OWN, "state", closed=True)


def test_what_is_needed_and_absent_is_named() -> None:
    check_types({"epoch": 3, "callbacks": {}})
    with pytest.raises(DataError, match="it has no global_step"):
        check_types({"epoch": 3, "callbacks": {}}, RESUMED)
    with pytest.raises(DataError, match="not a checkpoint of an emotion_lightning run"):
        check_types([1])


def lose_a_moment(checkpoint: dict[str, Any]) -> None:
    del next(iter(checkpoint["optimizer_states"][0]["state"].values()))["exp_avg"]


def reshape_a_moment(checkpoint: dict[str, Any]) -> None:
    next(iter(checkpoint["optimizer_states"][0]["state"].values()))["exp_avg"] = torch.ones(1, 2, 3)


def change_a_schedule(checkpoint: dict[str, Any]) -> None:
    checkpoint["lr_schedulers"][0]["_schedule_phases"][1]["end_lr"] = "max_lr"


def change_a_loop(checkpoint: dict[str, Any]) -> None:
    checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["completed"] = "one"


def lose_the_loops(checkpoint: dict[str, Any]) -> None:
    del checkpoint["loops"]


@pytest.mark.parametrize("change", [lose_a_moment, reshape_a_moment, change_a_schedule, change_a_loop, lose_the_loops])
def test_a_state_that_would_fail_within_a_step_is_refused_before_the_first(
    lab: Lab, tmp_path: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    lab.trainer(max_epochs=2, limit_train_batches=1).fit(lab.model(), lab.data())
    file = tmp_path / "run/checkpoints/epoch_000.ckpt"
    checkpoint = torch.load(file, weights_only=True)
    change(checkpoint)
    torch.save(checkpoint, file)
    with pytest.raises(DataError, match=r"`ckpt_path` .*epoch_000\.ckpt: (damaged, or changed: its|it has no)"):
        lab.trainer(max_epochs=2, limit_train_batches=1).fit(lab.model(), lab.data(), ckpt_path=file)
