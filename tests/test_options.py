import runpy
from pathlib import Path

import pytest

from emotion_lightning.cli.help import groups
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

GENERATOR = runpy.run_path(str(Path(__file__).parents[1] / "docs/generate_options.py"))
OF_LIGHTNING = {"help", "config", "print_config"}
OF_TOOLS = {"output", "strict", "license", "quantize", "group_by"}  # of audit, report and export, which start no run
LINKED = {"data.unfreeze_epoch"}


def options_of(command: str) -> set[str]:
    """Names of the options that a command accepts."""
    rows = [row for _, rows in groups(GENERATOR["parser_of"](command)) for row in rows if row.name.startswith("--")]
    return {row.name.lstrip("-") for row in rows} - OF_LIGHTNING


def test_the_table_has_every_option_and_no_other() -> None:
    assert set[str]().union(*map(options_of, ("fit", "validate", "test"))) == OPTIONS.keys()


@pytest.mark.parametrize("command", ["audit", "report", "export"])
def test_the_tools_share_the_options_of_runs(command: str) -> None:
    found = options_of(command) - OF_TOOLS
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
