from pathlib import Path

import pytest

from tests.helpers import QUIET, fails

pytestmark = pytest.mark.usefixtures("in_an_empty_folder")


def test_unwritable_predictions_are_said_first(trained: Path, faces: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("taken").write_text("a file")
    args = ["predict", "--ckpt_path", str(trained / "best.ckpt"), "--data.root", str(faces / "test")]
    assert "taken" in fails(capsys, 1, *args, "--predictions.output", "taken/out.csv", *QUIET)
    assert "is a folder" in fails(capsys, 2, *args, "--predictions.output", ".", *QUIET)


def test_predict_asks_which_images(capsys: pytest.CaptureFixture[str], trained: Path) -> None:
    assert "--data.root is missing" in fails(capsys, 2, "predict", "--ckpt_path", str(trained / "best.ckpt"))
