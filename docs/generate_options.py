"""Writes docs/options.md from what ``fit --help`` says and from the table in emotion_lightning/options.py."""

import io
import os
import re
from contextlib import redirect_stdout, suppress
from pathlib import Path

from emotion_lightning.cli import main
from emotion_lightning.cli.parser import HELP
from emotion_lightning.options import OPTIONS, Effect

PAGE = Path(__file__).with_name("options.md")
HEAD = """# Options

This page lists every option of `fit`, with its default and what it changes in a run.

`validate` and `test` take the same options, and `--verbose`. `audit` and `report` take a few of them, `predict` has its
[own](predict.md); `--help` after a command lists them. Values come from the defaults, then from each `--config` in
turn, then from the command line; the last one wins. `python docs/generate_options.py` writes this page from the
program's own help. The column "changes" says what depends on an option:
"""
ABOUT = {"": "Options of the command itself.", "trainer": "Lightning's Trainer, whose documentation explains them."}
TABLE = "| option | default | changes | what it is |\n|---|---|---|---|\n"
OPTION = re.compile(
    r"^  (?:-\w .*?)?--(?P<name>[\w.]+)(?: \{(?P<choices>\S+)\}.*|.*)\n? {3,}"
    r"(?P<text>.*?)(?: \(type: .*default: (?P<default>.*?)(?:, known subclasses: .*)?\))?$",
    re.MULTILINE,
)


def options_page() -> str:
    """Text of the page."""
    os.environ["COLUMNS"] = "100000"  # argparse wraps lines at the width of the terminal
    with redirect_stdout(io.StringIO()) as printed, suppress(SystemExit):
        main(["fit", "--help"])
    about, rows = dict(ABOUT), {}
    for title, options in re.findall(r"^(\S.*):\n((?: .*\n)+)", printed.getvalue(), re.MULTILINE):
        for option in OPTION.finditer(options):
            if option["name"] in OPTIONS:
                group = option["name"].rpartition(".")[0]
                about.setdefault(group, f"{title}.")
                rows.setdefault(group, []).append(_row(**option.groupdict("")))
    groups = sorted(rows, key=("", "trainer").__contains__)  # those two come last
    parts = [f"\n## {group or 'command'}\n\n{about[group]}\n\n{TABLE}" + "\n".join(rows[group]) for group in groups]
    return "\n".join([HEAD, *(f"- {effect.name.lower()}: {effect.value}" for effect in Effect), *parts, ""])


def _row(name: str, choices: str, text: str, default: str) -> str:
    if name.startswith("trainer.") and name not in HELP:
        text = ""  # Lightning's words, which differ between its releases
    elif not all(choice in text for choice in choices.split(",")) and "true" not in choices:
        text += f" One of {choices.replace(',', ', ')}."
    shown = default.lower() if default in ("True", "False") else default
    return f"| `--{name}` | {shown and f'`{shown}`'} | {OPTIONS[name].name.lower()} | {text} |"


if __name__ == "__main__":
    PAGE.write_text(options_page(), encoding="utf-8")
