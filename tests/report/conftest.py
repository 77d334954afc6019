import sys
from pathlib import Path

import pytest

from emotion_lightning.cli import main
from tests.test_cli import TINY

BAR = ["--trainer.enable_progress_bar", "false"]
RUN = Path("lightning_logs/version_0")


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["emotion_lightning"])


@pytest.fixture(scope="session")
def reported(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was trained and tested, with its report."""
    folder = tmp_path_factory.mktemp("reported")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["emotion_lightning"])
        main(["fit", "--data.root", str(faces), *TINY, *BAR, "--report.baseline_accuracy", "0.25"])
        main(["test", "--ckpt_path", str(RUN / "checkpoints/best.ckpt"), *BAR])
    return folder / RUN
