"""A run under each tracker: it has its folder and history, and the tracker its figures and pictures."""

from collections.abc import Callable
from pathlib import Path

import pytest
from lightning.pytorch.loggers import CSVLogger, Logger, MLFlowLogger, WandbLogger

from emotion_lightning.callbacks import History, RunCheckpoint, TensorBoardImages, Unfreeze
from emotion_lightning.runs.history import read_history
from tests.helpers import SCHEDULE, Lab


def csv_logger(folder: Path) -> tuple[Logger, Path]:
    return CSVLogger(folder, name="csv", version="run"), folder / "csv/run"


def wandb_logger(folder: Path) -> tuple[Logger, Path]:
    pytest.importorskip("wandb")
    return WandbLogger("mine", save_dir=folder, offline=True), folder / "run"


def mlflow_logger(folder: Path) -> tuple[Logger, Path]:
    pytest.importorskip("mlflow")
    store, artifacts = f"sqlite:///{folder}/mlflow.db", f"file:{folder}/artifacts"
    return MLFlowLogger("mine", tracking_uri=store, artifact_location=artifacts), folder / "run"


@pytest.mark.parametrize(
    ("made", "pictures"),
    [
        (csv_logger, "none*"),
        (wandb_logger, "wandb/offline-run-*/files/media/images/**/*.png"),
        (mlflow_logger, "artifacts/**/*.png"),
    ],
)
def test_a_run_under_a_tracker_has_its_folder_history_and_pictures(
    lab: Lab, tmp_path: Path, made: Callable[[Path], tuple[Logger, Path]], pictures: str
) -> None:
    logger, run = made(tmp_path)
    callbacks = [Unfreeze(SCHEDULE), History(), RunCheckpoint(0), TensorBoardImages(1)]
    trainer = lab.trainer(logger=logger, callbacks=callbacks, max_epochs=2, log_every_n_steps=1)
    trainer.fit(lab.model(), lab.data())
    logger.finalize("success")
    assert {"best.ckpt", "last.ckpt"} <= {path.name for path in (run / "checkpoints").iterdir()}
    assert list(read_history(run)["train/loss"]) == [0, 1]
    found = {name for path in tmp_path.glob(pictures) for name in ("grad_cam", "batch") if name in path.name}
    assert found == (set() if pictures == "none*" else {"grad_cam", "batch"})
