"""The commands that need no trainer: audit and report."""

import sys
from collections.abc import Sequence
from inspect import signature
from pathlib import Path
from typing import Any

from emotion_lightning.callbacks.report import Report
from emotion_lightning.cli.messages import with_dashes
from emotion_lightning.cli.parser import OptionParser
from emotion_lightning.data.audit.summary import everything, summary
from emotion_lightning.data.datamodule import EmotionDataModule
from emotion_lightning.errors import DataError, UsageError
from emotion_lightning.options import AUDITED, flatten, renamed
from emotion_lightning.report.run import Run, of_runs
from emotion_lightning.runs.files import ensure_writable, write_json, write_page
from emotion_lightning.runs.limited_yaml import read_mapping
from emotion_lightning.runs.newest import run_named
from emotion_lightning.runs.temporary import sweep_below


def audit(args: Sequence[str], program: str, description: str) -> None:
    """Audit a data set: print a summary, write audit.json and audit.html, and under --strict end by what was found."""
    from emotion_lightning.report.audit_page import page  # what draws is slow to import

    parser = OptionParser(prog=program, description=description)
    parser.add_argument("-c", "--config", type=str, help="Configuration, such as a run's; its data options are taken.")
    parser.add_class_arguments(EmotionDataModule, "data", skip=_without_effect())
    parser.add_argument("--output", default="audit", help="Folder for audit.json and audit.html; both are replaced.")
    parser.add_argument(
        "--strict", action="store_true", help="End with status 1 if there are leaks, conflicts or unreadable images."
    )
    config = parser.parse_args(list(args))
    if config.config is not None:
        parser.set_defaults(_audited_options(Path(config.config).expanduser()))
        config = parser.parse_args(list(args))
    if config.data.root is None:
        raise UsageError("audit needs --data.root, the folder of the images; the built-in faces are not audited")
    folder = Path(config.output).expanduser()
    ensure_writable(folder, "--output")
    found = EmotionDataModule(**config.data).audit
    assert found is not None  # there is a root
    write_json(folder / "audit.json", everything(found), indent=1)
    write_page(folder / "audit.html", page(found))
    print(f"{with_dashes(summary(found))}\n\nWrote {folder / 'audit.json'} and {folder / 'audit.html'}")
    if config.strict and (found.leaks or found.conflicts or found.unreadable):
        sys.exit(1)


def report(args: Sequence[str], program: str, description: str) -> None:
    """Write the report of one run from what it left in its folder, or a page that compares several."""
    from emotion_lightning.report.comparison import write_comparison  # what draws is slow to import
    from emotion_lightning.report.page import write_report

    parser = OptionParser(prog=program, description=description)
    parser.add_argument(
        "runs", nargs="+", type=str, metavar="RUN", help="Run: its name or folder, or last for the newest."
    )
    parser.add_class_arguments(Report, "report", skip={"write"})
    parser.add_argument("--output", default="comparison", help="Folder for the page that compares several runs.")
    parser.add_argument("--group_by", type=str, help="Option by whose value several runs are grouped.")
    config = parser.parse_args(list(args))
    folders = [run_named(run) for run in config.runs]
    for folder in folders:
        sweep_below(folder)
    given = {name: value for name, value in config.report.as_dict().items() if value is not None}
    if len(folders) > 1:
        if given:
            raise UsageError(
                f"--report.{min(given)} is for the report of one run; several are compared with one another"
            )
        print(f"Wrote {write_comparison(folders, Path(config.output).expanduser(), config.group_by)}")
        return
    if config.group_by is not None:
        raise UsageError("--group_by is for several runs, which are compared with one another")
    with of_runs(folders[0]):
        baseline = Report(
            **(given or Run(folders[0]).config.get("report", {}))
        ).baseline  # of the run, if none is given
    print(f"Wrote {write_report(folders[0], baseline)}")


def _audited_options(file: Path) -> dict[str, Any]:
    """Options in a configuration file that matter for an audit."""
    try:
        options = dict(flatten(renamed(read_mapping(file))))
    except DataError as error:
        raise UsageError(f"--config {error}") from error
    if "seed_everything" in options and file.name == "config.yaml":  # of a run of before splits had their own seed
        options.setdefault("data.split_seed", options["seed_everything"])
    audited = {f"data.{name}" for name in AUDITED}
    return {name: value for name, value in options.items() if name in audited}


def _without_effect() -> set[str]:
    """Parameters of the datamodule that change nothing about what an audit finds."""
    return set(signature(EmotionDataModule).parameters) - set(AUDITED)
