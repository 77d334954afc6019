import shutil
import sys
import tempfile
from pathlib import Path

import pytest
import yaml

from emotion_lightning.cli import main
from emotion_lightning.tuning import lr_find

TINY = [
    *("--model.backbone", "test_resnet", "--model.pretrained", "false", "--model.hidden_features", "16"),
    *("--data.image_size", "32", "--data.batch_size", "8", "--data.num_workers", "0"),
    *("--unfreeze.schedule", "{0: classifier_only, 1: layer4}", "--trainer.max_epochs", "3"),
]


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(sys, "argv", ["emotion_lightning"])
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


@pytest.fixture
def uncut(faces: Path, tmp_path: Path) -> Path:
    """Faces without splits, of which a run would save those that it cuts."""
    shutil.copytree(faces / "train", tmp_path / "uncut")
    return tmp_path / "uncut"


def everything(folder: Path) -> dict[Path, bytes | None]:
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.mark.parametrize("precision", ["32-true", "16-mixed"])
def test_a_dry_run_prints_the_plan_and_leaves_nothing_behind(
    uncut: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    precision: str,
) -> None:
    before = everything(tmp_path)
    with caplog.at_level("INFO", "lightning.pytorch"):
        main(["fit", "--data.root", str(uncut), *TINY, "--trainer.precision", precision, "--dry_run"])
    assert everything(tmp_path) == before
    out = capsys.readouterr().out
    assert "\nDry run, in " in out
    assert "1-2     layer4+" in out
    assert "This is an estimate" in out
    assert any("Data: folder tree without splits" in line for line in caplog.messages)
    assert not any("Epoch" in line for line in caplog.messages)  # what is said of the short run would mislead


def test_the_finder_leaves_its_picture(
    uncut: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lr_find, "STEPS", 4)
    before = everything(tmp_path)
    main(["fit", "--data.root", str(uncut), *TINY, "--lr_find"])
    new = {str(path.relative_to(tmp_path / "here")) for path in everything(tmp_path).keys() - before.keys()}
    assert new == {"lr_find", "lr_find/lr_find.png"}
    out = capsys.readouterr().out
    assert "configured 1.0e-03, suggested " in out
    assert "Wrote lr_find/lr_find.png" in out


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--dry_run", "--lr_find"], "--dry_run and --lr_find are two commands"),
        (["--dry_run", "--ckpt_path", "last.ckpt"], "--dry_run is for a run from its start: leave out --ckpt_path"),
        (["--lr_find", "--ckpt_path", "last.ckpt"], "--lr_find is for a run from its start: leave out --ckpt_path"),
        (["--dry_run", "--trainer.fast_dev_run", "true"], "leave out --trainer.fast_dev_run"),
        (["--lr_find", "--trainer.fast_dev_run", "3"], "leave out --trainer.fast_dev_run"),
        (["--lr_find", "--trainer.max_epochs", "-1"], "--trainer.max_epochs -1: --lr_find needs"),
        (["--dry_run", "--trainer.max_epochs", "0"], "--trainer.max_epochs 0: --dry_run needs"),
    ],
)
def test_what_does_not_go_together_is_refused(
    capsys: pytest.CaptureFixture[str], args: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["fit", *TINY, *args])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
    assert list(Path().iterdir()) == []


def test_an_unwritable_folder_is_said_first(uncut: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("lr_find").write_text("a file")
    with pytest.raises(SystemExit) as stopped:
        main(["fit", "--data.root", str(uncut), *TINY, "--lr_find"])
    assert stopped.value.code == 1
    assert "cannot write to lr_find" in capsys.readouterr().err


def test_only_the_help_of_fit_names_the_flags(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("fit", "test"):
        main([command, "--help"])
        text = " ".join(capsys.readouterr().out.split())
        for said in (
            "--dry_run Measure some steps of every phase",
            "--lr_find Try learning rates of the classifier",
        ):
            assert (said in text) == (command == "fit")


def test_a_configuration_does_not_name_the_flags(faces: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["fit", *TINY, "--print_config"])
    printed = yaml.safe_load(capsys.readouterr().out)
    main(["fit", "--data.root", str(faces), *TINY, "--trainer.max_epochs", "1"])
    saved = yaml.safe_load(Path("lightning_logs/version_0/config.yaml").read_text())
    for config in (printed, saved):
        assert config["trainer"]
        assert not {"dry_run", "lr_find"} & config.keys()


@pytest.mark.parametrize("root", ["uncut", None])
def test_a_fast_dev_run_leaves_nothing_behind(uncut: Path, tmp_path: Path, root: str | None) -> None:
    before = everything(tmp_path)
    data = [] if root is None else ["--data.root", str(uncut)]
    main(["fit", *TINY, *data, "--trainer.fast_dev_run", "true"])
    assert everything(tmp_path) == before
