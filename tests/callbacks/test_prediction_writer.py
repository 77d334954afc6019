import csv
from pathlib import Path

import pytest
import torch

from emotion_lightning.cli import main
from tests.helpers import QUIET, fails

pytestmark = pytest.mark.usefixtures("in_an_empty_folder")


def test_unwritable_predictions_are_said_first(trained: Path, faces: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("taken").write_text("a file")
    args = ["predict", "--ckpt_path", str(trained / "best.ckpt"), "--data.root", str(faces / "test")]
    assert "taken" in fails(capsys, 1, *args, "--predictions.output", "taken/out.csv", *QUIET)
    assert "is a folder" in fails(capsys, 2, *args, "--predictions.output", ".", *QUIET)


def test_predict_asks_which_images(capsys: pytest.CaptureFixture[str], trained: Path) -> None:
    assert "--data.root is missing" in fails(capsys, 2, "predict", "--ckpt_path", str(trained / "best.ckpt"))


def test_an_image_without_an_answer_has_no_predicted_class(
    trained: Path, faces: Path, recwarn: pytest.WarningsRecorder
) -> None:
    checkpoint = torch.load(trained / "best.ckpt", weights_only=True)
    checkpoint["state_dict"]["classifier.6.bias"].fill_(float("nan"))
    torch.save(checkpoint, trained / "best.ckpt")
    main(["predict", "--ckpt_path", str(trained / "best.ckpt"), "--data.root", str(faces / "test"), *QUIET])
    with (trained.parent / "predictions.csv").open() as file:
        assert {row["predicted"] for row in csv.DictReader(file)} == {""}
    assert any("For 18 images the model gave no numbers" in str(warning.message) for warning in recwarn)
