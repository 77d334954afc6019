import re

import pytest

from emotion_lightning.cli import main
from emotion_lightning.options import (
    AUDITED,
    OPTIONS,
    RENAMED,
    Effect,
    changes_learning,
    flatten,
    option_named,
    renamed,
)

OF_LIGHTNING = {"help", "config", "print_config"}
OF_TOOLS = {"output", "strict", "license", "quantize", "group_by"}  # of audit, report and export, which start no run
LINKED = {"data.unfreeze_epoch"}


def options_of(command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Names of the options in the help of a command, without those that load a group's file or explain a class."""
    monkeypatch.setenv("COLUMNS", "1000")
    with pytest.raises(SystemExit):
        main([command, "--help"])
    lines = re.findall(r"^  (?:-\w[^-]*, )?--([\w.]+)(.*)", capsys.readouterr().out, flags=re.MULTILINE)
    groups = {name.partition(".")[0] for name, _ in lines if "." in name}
    return {name for name, _ in lines if name not in groups and not name.endswith(".help")} - OF_LIGHTNING


def test_the_table_has_every_option_and_no_other(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    of_runs = set[str]().union(*(options_of(command, capsys, monkeypatch) for command in ("fit", "validate", "test")))
    assert of_runs == OPTIONS.keys()


@pytest.mark.parametrize("command", ["audit", "report", "export"])
def test_the_tools_share_the_options_of_runs(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = options_of(command, capsys, monkeypatch) - OF_TOOLS
    assert found <= OPTIONS.keys()
    if command == "audit":
        assert {f"data.{name}" for name in AUDITED} <= found


def test_learning_is_what_decides_the_weights() -> None:
    learning = ("model.lr_backbone", "data.leaks", "trainer.precision", "unfreeze.schedule", "seed_everything")
    assert all(map(changes_learning, learning))
    other = ("data.root", "model.tta", "data.num_workers", "report.write", "model.unknown")
    assert not any(map(changes_learning, other))


@pytest.mark.parametrize(
    ("parameter", "name"),
    [
        ("leaks", "data.leaks"),
        ("data.leaks", "data.leaks"),
        ("ckpt_path", "ckpt_path"),
        ("precision", "trainer.precision"),  # of which Lightning's messages speak; the other is predict.precision
        ("every_n_epochs", None),  # of checkpoint and of tensorboard
        ("unknown", None),
    ],
)
def test_a_parameter_stands_for_the_option_that_alone_has_its_name(parameter: str, name: str | None) -> None:
    assert option_named(parameter) == name


def test_a_mapping_that_is_one_value_stays_whole() -> None:
    config = {"unfreeze": {"schedule": {0: "classifier", 2: "all"}}, "seed_everything": 1, "data": {"root": None}}
    assert dict(flatten(config)) == {
        "unfreeze.schedule": {0: "classifier", 2: "all"},
        "seed_everything": 1,
        "data.root": None,
    }


def test_options_of_an_earlier_version_get_their_names_of_today() -> None:
    old = {"dashboard": {"every_n_epochs": 2}, "data": {"format": "tree", "leaks": "drop"}, "seed_everything": 1}
    assert renamed(old) == {
        "tensorboard": {"every_n_epochs": 2},
        "data": {"layout": "tree", "leaks": "drop"},
        "seed_everything": 1,
    }


def test_an_option_has_one_name() -> None:
    assert not RENAMED.keys() & OPTIONS.keys()
    assert set(RENAMED.values()) - LINKED <= OPTIONS.keys()
    assert set(OPTIONS.values()) == set(Effect)
