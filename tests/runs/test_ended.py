from typing import Any

import pytest

from emotion_lightning.runs.ended import end_of_run


def checkpoint(epochs: int, waited: int = 0) -> dict[str, Any]:
    progress = {"epoch_progress": {"current": {"processed": epochs}}}
    stopping = {"EarlyStopping{'mode': 'max'}": {"wait_count": waited, "patience": 3}, "Throughput": {"images": 1}}
    return {"loops": {"fit_loop": progress}, "global_step": 10 * epochs, "callbacks": stopping}


@pytest.mark.parametrize(
    ("epochs", "waited", "trainer", "said"),
    [
        (4, 0, {"max_epochs": 5, "max_steps": -1}, None),
        (5, 0, {"max_epochs": 5, "max_steps": -1}, "has trained its 5 epochs"),
        (5, 0, {"max_epochs": -1, "max_steps": 50}, "has trained its 50 steps"),
        (4, 2, {"max_epochs": 5}, None),
        (4, 3, {"max_epochs": 5}, "was stopped early after 4 epochs, 3 of them without a gain"),
        (4, 3, {"max_epochs": 9, "min_epochs": 5}, None),
        (4, 3, {"max_epochs": 9, "min_steps": 41}, None),
    ],
)
def test_a_run_is_over_after_its_last_epoch_or_when_it_was_stopped(
    epochs: int, waited: int, trainer: dict[str, Any], said: str | None
) -> None:
    assert end_of_run(checkpoint(epochs, waited), trainer) == said
