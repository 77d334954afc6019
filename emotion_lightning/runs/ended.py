"""Whether a checkpoint is the end of its run, after which nothing is left to train."""

from collections.abc import Mapping
from typing import Any

PROGRESS = ("loops", "callbacks", "global_step")
"""What of a checkpoint tells it."""


def end_of_run(checkpoint: Mapping[str, Any], trainer: Mapping[str, Any]) -> str | None:
    """Say how the run of a checkpoint has ended there; None where it can go on.

    Args:
        checkpoint: Its entries :data:`PROGRESS`.
        trainer: Options of the run's trainer.
    """
    epochs = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"]
    steps = checkpoint["global_step"]
    for name, done in (("max_epochs", epochs), ("max_steps", steps)):
        if 0 < (trainer.get(name) or -1) <= done:
            return f"has trained its {done} {name.removeprefix('max_')}"
    if epochs < (trainer.get("min_epochs") or 0) or steps < (trainer.get("min_steps") or 0):
        return None
    for name, state in checkpoint["callbacks"].items():
        if name.startswith("EarlyStopping") and state["wait_count"] >= state["patience"]:
            return f"was stopped early after {epochs} epochs, {state['patience']} of them without a gain"
    return None
