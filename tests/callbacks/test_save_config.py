import json
from pathlib import Path

import pytest
import timm
import torch
import yaml
from safetensors.torch import save_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from emotion_lightning.cli import main
from emotion_lightning.runs.history import read_history
from tests.helpers import QUIET, RUN, TINY, fails

pytestmark = pytest.mark.usefixtures("in_an_empty_folder")


def test_a_schedule_of_sizes_is_part_of_a_runs_configuration(faces: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = ["--data.resolution_schedule", "{0: 24, 2: 32}"]
    main(["fit", "--data.root", str(faces), *TINY, *sizes, *QUIET])
    written = yaml.safe_load((RUN / "config.yaml").read_text())["data"]["resolution_schedule"]
    assert {int(epoch): side for epoch, side in written.items()} == {0: 24, 2: 32}
    last = str(RUN / "checkpoints" / "last.ckpt")
    for other in ("{0: 24, 1: 32}", "null"):
        said = fails(capsys, 2, "fit", "--ckpt_path", last, "--data.resolution_schedule", other)
        assert "contradicts the checkpoint, whose run has {0: 24, 2: 32}" in said
    main(["fit", "--ckpt_path", last, *sizes, *QUIET])
    events = EventAccumulator(str(RUN))
    events.Reload()
    assert [point.value for point in events.Scalars("train_schedule/image_side")] == [24, 24, 32]


def test_printed_config_is_that_of_the_checkpoint(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["test", "--ckpt_path", str(trained / "best.ckpt"), "--print_config"])
    assert yaml.safe_load(capsys.readouterr().out)["model"]["backbone"] == "test_resnet"


def test_a_resume_adds_to_where_a_run_comes_from_and_leaves_its_curves_alone(faces: Path, trained: Path) -> None:
    main(["fit", "--ckpt_path", str(trained / "epoch_000.ckpt"), *QUIET])
    assert [start["epoch"] for start in json.loads((RUN / "provenance.json").read_text())] == [0, 1]
    accuracy = read_history(RUN)["val/accuracy"]
    assert list(accuracy) == [0, 1, 2]
    events = EventAccumulator(str(RUN))
    events.Reload()
    assert len({event.step for event in events.Scalars("val/loss")}) == 3  # the best was measured, and not logged


@pytest.mark.parametrize(("rate", "chosen"), [("1e-5", "frozen"), ("1e-3", "train")])
def test_a_run_keeps_the_batch_norm_that_auto_chose(
    faces: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, rate: str, chosen: str
) -> None:
    save_file(timm.create_model("test_resnet").state_dict(), "weights.safetensors")
    options = [
        "--model.pretrained",
        "weights.safetensors",
        "--model.lr_backbone",
        rate,
        "--checkpoint.every_n_epochs",
        "1",
    ]
    with caplog.at_level("INFO"):
        main(["fit", "--data.root", str(faces), *TINY, *options, "--checkpoint.every_n_epochs", "1", *QUIET])
    assert (", BatchNorm frozen)" in caplog.text) == (chosen == "frozen")
    assert yaml.safe_load((RUN / "config.yaml").read_text())["model"]["batch_norm"] == chosen
    checkpoints = RUN / "checkpoints"
    whole = torch.load(checkpoints / "last.ckpt", weights_only=True)["state_dict"]
    Path("weights.safetensors").unlink()  # a restored model needs none, and is trained as before
    main(["fit", "--ckpt_path", str(checkpoints / "epoch_000.ckpt"), *QUIET])
    resumed = torch.load(checkpoints / "last.ckpt", weights_only=True)
    assert resumed["hyper_parameters"]["batch_norm"] == chosen
    assert all(torch.equal(whole[name], resumed["state_dict"][name]) for name in whole)
    main(["test", "--config", str(RUN / "config.yaml"), "--ckpt_path", str(checkpoints / "last.ckpt"), *QUIET])
