import shutil
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Callback
from lightning.pytorch.loggers import Logger

from emotion_lightning.callbacks import History, RunCheckpoint, Throughput, Unfreeze
from emotion_lightning.callbacks import history as module
from emotion_lightning.errors import DataError
from emotion_lightning.evaluation.metrics import MONITOR
from emotion_lightning.runs.history import read_history
from tests.helpers import SCHEDULE, Lab

CLOCKS = ("epoch_seconds", "images_per_second")


class Logged(Logger):
    """Keeps every value of every figure by epoch."""

    name, version = "logged", 0

    def __init__(self) -> None:
        super().__init__()
        self.values: dict[str, dict[int, list[float]]] = {}

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        for name in metrics.keys() - {"epoch", "train/loss_step"}:
            self.values.setdefault(name, {}).setdefault(int(metrics["epoch"]), []).append(metrics[name])

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Keep nothing."""


def fit(lab: Lab, folder: str, *more: Callback, ckpt_path: Path | None = None, **options: Any) -> Logged:
    logged = Logged()
    callbacks = [Unfreeze(SCHEDULE), Throughput(), History(), *more]
    trainer = lab.trainer(folder, **{"logger": logged, "callbacks": callbacks, "log_every_n_steps": 1} | options)
    trainer.fit(lab.model(), lab.data(), ckpt_path=ckpt_path)
    return logged


def without_clocks(folder: Path) -> dict[str, dict[int, float]]:
    return {name: values for name, values in read_history(folder).items() if not name.endswith(CLOCKS)}


@pytest.mark.parametrize(
    "options",
    [{}, {"val_check_interval": 2}, {"check_val_every_n_epoch": 2}, {"max_steps": 9, "max_epochs": -1}],
    ids=str,
)
@pytest.mark.parametrize("saves", [True, False])
def test_every_epoch_has_the_figures_that_were_logged_for_it(
    lab: Lab, tmp_path: Path, options: dict[str, Any], saves: bool
) -> None:
    more = [RunCheckpoint(0)] if saves else []
    logged = fit(lab, "run", *more, enable_checkpointing=saves, **options).values
    assert {"train/loss", "train/epoch_seconds", "lr/classifier", MONITOR} <= logged.keys()
    chosen = {name: max if name == MONITOR else lambda found: found[-1] for name in logged}
    expected = {n: {e: chosen[n](found) for e, found in by_epoch.items()} for n, by_epoch in logged.items()}
    assert read_history(tmp_path / "run") == expected


def test_a_resume_has_the_figures_up_to_its_checkpoint_and_none_of_those_after(lab: Lab, tmp_path: Path) -> None:
    fit(lab, "whole", RunCheckpoint(1))
    (tmp_path / "again/checkpoints").mkdir(parents=True)
    shutil.copy(tmp_path / "whole/history.csv", tmp_path / "again")  # of three epochs
    first = shutil.copy(tmp_path / "whole/checkpoints/epoch_000.ckpt", tmp_path / "again/checkpoints")
    fit(lab, "again", RunCheckpoint(1), ckpt_path=first, max_epochs=3)
    assert without_clocks(tmp_path / "again") == without_clocks(tmp_path / "whole")
    seconds = [read_history(tmp_path / name)["train/epoch_seconds"] for name in ("whole", "again")]
    assert seconds[0][0] == seconds[1][0]
    assert seconds[0][2] != seconds[1][2]


def test_a_history_that_cannot_be_written_ends_no_run(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise DataError("cannot write history.csv: No space left on device")

    monkeypatch.setattr(module, "write_history", full)
    with pytest.warns(UserWarning, match="No space left on device; training goes on"):
        fit(lab, "run", max_epochs=1)
