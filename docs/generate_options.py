"""Writes docs/options.md and the help of every command, emotion_lightning/cli/help/, from the parsers themselves."""

from argparse import ArgumentParser
from contextlib import suppress
from pathlib import Path
from unittest.mock import patch

from emotion_lightning.cli.commands import COMMANDS
from emotion_lightning.cli.help import Row, groups, help_text
from emotion_lightning.cli.parser import HELP, OptionParser
from emotion_lightning.cli.run import run
from emotion_lightning.options import OPTIONS, Effect

PAGE = Path(__file__).with_name("options.md")
HELPS = Path(__file__).parents[1] / "emotion_lightning/cli/help"
HEAD = """# Options

This page lists every option of `fit`, with its default and what it changes in a run.

`validate` and `test` take the same options, and `--verbose`. `audit` and `report` take a few of them, `predict` has its
[own](predict.md); `--help` after a command lists those that it uses, and `--help.trainer` those of Lightning's Trainer.
Values come from the defaults, then from each `--config` in turn, then from the command line; the last one wins.
`python docs/generate_options.py` writes this page and the help from the program itself. The column "changes" says what
depends on an option:
"""
ABOUT = {"": "Options of the command itself.", "trainer": "Lightning's Trainer, whose documentation explains them."}
TABLE = "| option | default | changes | what it is |\n|---|---|---|---|\n"


def parser_of(command: str) -> ArgumentParser:
    """Parser of a command, before it has read anything."""
    found: list[ArgumentParser] = []
    with patch.object(OptionParser, "format_help", lambda parser, *_: found.append(parser) or ""), suppress(SystemExit):
        run([command, "--help"])
    return found[0]


def options_page(parser: ArgumentParser) -> str:
    """Text of the page."""
    about, rows = dict(ABOUT), dict[str, list[str]]()
    for title, options in groups(parser):
        for option in options:
            name = option.name.lstrip("-")
            if name in OPTIONS:
                group = name.rpartition(".")[0]
                about.setdefault(group, f"{title}.")
                rows.setdefault(group, []).append(_row(name, option))
    names = sorted(rows, key=("", "trainer").__contains__)  # those two come last
    parts = [f"\n## {group or 'command'}\n\n{about[group]}\n\n{TABLE}" + "\n".join(rows[group]) for group in names]
    return "\n".join([HEAD, *(f"- {effect.name.lower()}: {effect.value}" for effect in Effect), *parts, ""])


def _row(name: str, option: Row) -> str:
    text = "" if name.startswith("trainer.") and name not in HELP else option.text  # Lightning's differ by release
    if option.kind.startswith("one of") and not all(each in text for each in option.kind[7:].split(", ")):
        text += f" {option.kind.capitalize()}."
    default = f"`{option.default or 'null'}`" if option.kind and name != "resume" else ""
    return f"| `--{name}` | {default} | {OPTIONS[name].name.lower()} | {text} |"


def main() -> None:
    """Write the files."""
    HELPS.mkdir(exist_ok=True)
    for command in COMMANDS:
        parser = parser_of(command)
        (HELPS / f"{command}.txt").write_text(help_text(parser), encoding="utf-8")
        if command == "fit":
            PAGE.write_text(options_page(parser), encoding="utf-8")


if __name__ == "__main__":
    main()
