"""What messages advise: every option, value and command that they name is there."""

import ast
import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import emotion_lightning
from emotion_lightning.cli import export, main, predict
from emotion_lightning.cli.commands import COMMANDS
from emotion_lightning.cli.messages import PARAMETER, with_dashes
from emotion_lightning.errors import UsageError
from emotion_lightning.options import OF_FACES, OPTIONS, PROGRAM, option_named
from tests.helpers import QUIET, TINY

pytestmark = pytest.mark.usefixtures("in_an_empty_folder")

PACKAGE = Path(emotion_lightning.__file__).parent
OF_LIBRARIES = {"save_weights_only", "Trainer.fit", "train_dataloader", "--shm-size", "--logdir", "--porcelain"}
"""What messages name that is no option of ours: words of Lightning's, options of Docker, TensorBoard and Git."""
OF_HELP = {"--help", "--help.trainer", "--version", "--data", "--model", "--report", "--trainer"}
"""Options that print and end, and groups, which a message names as what was typed."""
FILLED_IN = "…"
"""Stands for what a message puts in when it is written."""


def texts(path: Path) -> Iterator[str]:
    """Every text in a file of the package but its docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            skipped |= set(node.values)
            yield "".join(_part(value) for value in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in skipped:
            yield node.value


def _part(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    return PROGRAM if ast.unparse(node) == "{PROGRAM}" else FILLED_IN


def advice(pattern: str) -> set[tuple[str, ...]]:
    every = (text for path in sorted(PACKAGE.rglob("*.py")) for text in texts(path))
    return {found.groups("") for text in every for found in re.finditer(pattern, text)}


VALUES = sorted((name, value) for name, value in advice(PARAMETER.pattern) if value and FILLED_IN not in value)


def test_every_parameter_that_a_message_names_is_an_option() -> None:
    named = {name for name, _ in advice(rf"`([\w.{FILLED_IN}]+)(?:=([^`]*))?`") if FILLED_IN not in name}
    assert {"batch_size", "unfreeze.schedule", "lr_find"} <= named
    assert {name for name in named - OF_LIBRARIES - {*predict.OWN, *export.OWN} if option_named(name) is None} == set()


def test_every_option_that_a_message_names_is_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    for command in COMMANDS:
        main([command, "--help"])
    known = set(re.findall(r"--[\w.]+", capsys.readouterr().out)) | {f"--{name}" for name in OPTIONS} | OF_HELP
    named = {name.rstrip(".") for (name,) in advice(r"(?<!var\()(--[a-z][\w.-]+)")}
    assert {"--ckpt_path", "--data.batch_size"} <= named
    assert named - OF_LIBRARIES - known == set()


def test_every_command_that_a_message_names_is_one() -> None:
    named = {name for (name,) in advice(rf"{PROGRAM} (\w+)") if name.islower()}
    assert {"test", "predict", "report", "fit"} <= named <= set(COMMANDS)


@pytest.mark.parametrize(("name", "value"), VALUES)
def test_every_value_that_a_message_advises_is_parsed(name: str, value: str) -> None:
    if option_named(name) in OF_FACES:
        with pytest.raises(UsageError, match="needs --ckpt_path"):  # which is looked at once all are parsed
            predict.predict([f"--{name}", value], "predict", "")
        return
    with pytest.raises(SystemExit) as stopped:
        main(["fit", f"--{option_named(name)}", value, "--print_config"])
    assert stopped.value.code == 0


def test_a_warning_of_ours_speaks_of_options_too(faces: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--trainer.max_epochs", "1", "--trainer.limit_train_batches", "1"]
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = _show
        main(["fit", "--data.root", str(faces), *TINY, *QUIET, *given])
    said = (
        "warning: --unfreeze.schedule has entries at epochs [1, 2], which a run of --trainer.max_epochs 1 never reaches"
    )
    assert said in capsys.readouterr().err.splitlines()


def _show(*args: Any, **kwargs: Any) -> None:
    """Write a warning as Python does; pytest would keep it."""
    sys.stderr.write(warnings.formatwarning(*args[:4]))


def test_a_value_is_quoted_once() -> None:
    said = "`strategy='nope'`, `strategy=\"nope\"`, `strategy=''`, `ckpt_path=it's`, `ckpt_path='a b'`"
    assert with_dashes(said) == (
        "--trainer.strategy nope, --trainer.strategy nope, --trainer.strategy '', --ckpt_path 'it'\"'\"'s', "
        "--ckpt_path 'a b'"
    )


def test_parameters_become_options_that_a_shell_takes() -> None:
    said = "leave out `batch_size`, or give `ckpt_path=my runs/it's.ckpt` or `schedule={0: all}`, not `unknown=1`"
    assert with_dashes(said) == (
        "leave out --data.batch_size, or give --ckpt_path 'my runs/it'\"'\"'s.ckpt' or --unfreeze.schedule '{0: all}', "
        "not `unknown=1`"
    )
