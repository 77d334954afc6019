import os
from pathlib import Path

import pytest
import torch
import yaml

from emotion_lightning.cli import main
from tests.helpers import TINY, fails

pytestmark = pytest.mark.usefixtures("in_an_empty_folder")


def test_configs_layer_and_the_command_line_wins(capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.yaml").write_text("model: {dropout_rate: 0.1, lr_backbone: 1.0e-4}\ndata: {batch_size: 4}\n")
    Path("b.yaml").write_text("model: {dropout_rate: 0.2}\n")
    with pytest.raises(SystemExit):
        main(["fit", "--config", "a.yaml", "--config", "b.yaml", "--data.batch_size", "9", "--print_config"])
    config = yaml.safe_load(capsys.readouterr().out)
    assert (config["model"]["dropout_rate"], config["model"]["lr_backbone"], config["data"]["batch_size"]) == (
        0.2,
        1e-4,
        9,
    )


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["fit", "--model.lr_bacbone", "1"], "did you mean --model.lr_backbone?"),
        (["fit", "--model.lr_b", "1"], "there is no option --model.lr_b"),
        (["fit", "--dat.root", "x"], "did you mean --data.root?"),
        (["fit", "--model.lr_backbone", "fast"], "model.lr_backbone"),
        (["fit", "--config", "missing.yaml"], "missing.yaml"),
        (["fot"], "'fot'"),
        (["test"], "test needs --ckpt_path"),
        (["--config", "top.yaml", "test"], "put the command first"),
        (["fit", "--seed_everything", "-1"], "--seed_everything -1"),
        (["fit", "--seed_everything", "true"], "--seed_everything True"),
        (["fit", "--data.layout", "raf"], "rafdb"),
        (
            ["fit", "--data.drop_classes", "[sad]", *TINY],
            "--data.drop_classes is for data of your own: give --data.root",
        ),
        (["fit", "--model.backbone", "resnet500"], "did you mean resnet50"),
        (
            ["fit", "--unfreeze.schedule", "{0: classifier, 5: layer7}"],
            "error: --unfreeze.schedule names an unknown stage 'layer7' at epoch 5",
        ),
        (["fit", *TINY, "--ema.decay", "2"], "--ema.decay 2"),
        (["fit", "--data.batch_size", "1"], "--data.batch_size 1"),
        (
            ["fit", *TINY, "--data.resolution_schedule", "{0: 64}"],
            "--data.resolution_schedule has images of 64 pixels at epoch 0",
        ),
        (["fit", *TINY, "--trainer.max_epochs", "0"], "--trainer.max_epochs 0 trains nothing"),
        (["fit", *TINY, "--trainer.max_epochs", "-1"], "--trainer.max_epochs gives no end"),
        (["fti"], "did you mean fit?"),
        (
            ["fit", *TINY, "--model.backbone", "test_coatnet", "--data.image_size", "100", "--data.root", "nowhere"],
            "--data.image_size 100: --model.backbone test_coatnet cannot take images of that size",
        ),
        (["fit", "--trainer.accelerator", "gpu", *TINY], "gpu backend"),
    ],
)
def test_wrong_usage_takes_one_line_and_status_2(
    capsys: pytest.CaptureFixture[str], args: list[str], message: str
) -> None:
    Path("top.yaml").write_text("test: {ckpt_path: best.ckpt}\n")
    if message == "gpu backend" and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    error = fails(capsys, 2, *args)
    assert message in error
    assert error.count("\n") == 1


def test_a_wrong_key_in_a_config_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    Path("typo.yaml").write_text("model: {lr_clasifier: 0.1}\n")
    assert "did you mean --model.lr_classifier?" in fails(capsys, 2, "fit", "--config", "typo.yaml")


def test_help_of_a_checkpoint_is_ours(capsys: pytest.CaptureFixture[str]) -> None:
    main(["test", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "Checkpoint of an earlier run" in text
    assert "hpc" not in text


BOMB = "a: &a [x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [*{a}, *{a}, *{a}, *{a}, *{a}, *{a}, *{a}]\n" for a, b in zip("abcde", "bcdef", strict=True)
)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            ["fit", "--config", "bomb.yaml"],
            "--config bomb.yaml cannot be read as YAML: it has more than the 2,000",
        ),
        (["fit", "--data", "bomb.yaml"], "it has more than the 2,000 values"),
        (["audit", "--config", "bomb.yaml"], "--config bomb.yaml cannot be read as YAML: it has more than the 2,000"),
        (["fit", "--config", "pipe"], "pipe is a pipe"),
        (["fit", "--trainer", "pipe"], "pipe is a pipe"),
        (["audit", "--config=pipe"], "pipe is a pipe"),
        (["fit", "--config", "memory://x.yaml"], "--config memory://x.yaml: addresses are not fetched"),
        (["fit", "--data", "memory://x.yaml"], "memory://x.yaml"),
        (["fit", "--config", "-"], "-"),
        (["fit", "--config", "."], ". is no regular file"),
    ],
)
def test_configurations_are_local_files_within_limits(
    capsys: pytest.CaptureFixture[str], args: list[str], message: str
) -> None:
    fsspec = pytest.importorskip("fsspec")
    with fsspec.open("memory://x.yaml", "w") as stream:
        stream.write("trainer: {max_epochs: 1}")
    Path("bomb.yaml").write_text(BOMB)
    os.mkfifo("pipe")
    assert message in fails(capsys, 2, *args)


def test_a_configuration_may_be_given_as_its_text(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["fit", "--config", "trainer: {max_epochs: 3}", "--config", "data: {num_workers: 1}", "--print_config"])
    printed = yaml.safe_load(capsys.readouterr().out)
    assert (printed["trainer"]["max_epochs"], printed["data"]["num_workers"]) == (3, 1)
