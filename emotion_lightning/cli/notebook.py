"""What the command line does, from Python and in a notebook."""

import html
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

import emotion_lightning
from emotion_lightning.cli.flags import FLAGS
from emotion_lightning.cli.training import run_lightning
from emotion_lightning.errors import RunIsOver, UsageError
from emotion_lightning.report.results import FOLDER, PAGE
from emotion_lightning.report.run import Run
from emotion_lightning.report.summary import summary
from emotion_lightning.runs.files import read_json
from emotion_lightning.runs.folder import CHECKPOINTS, pasted, run_dir


@dataclass(frozen=True)
class Trained:
    """A run that has ended.

    Args:
        folder: The run's folder, such as lightning_logs/version_0.
    """

    folder: Path

    @property
    def checkpoint(self) -> Path:
        """The best checkpoint, as ``emotion_lightning.load`` takes it."""
        return self.folder / CHECKPOINTS / "best.ckpt"

    def test(self, **options: Any) -> dict[str, Any]:
        """Measure the best checkpoint on the test split, write its report and return its metrics.

        Args:
            options: As :func:`fit` takes them.

        Raises:
            EmotionError: The command line would end with this error.
        """
        _command("test", {"ckpt_path": str(self.checkpoint)} | options)
        written = max((self.folder / FOLDER).glob("*/metrics.json"), key=lambda file: file.stat().st_mtime_ns)
        found: dict[str, Any] = read_json(written)
        print(summary(Run(self.folder, on=written.parent), found["split"]))
        return found

    def show(self) -> None:
        """Show the report in a notebook.

        Raises:
            UsageError: This is no notebook.
        """
        notebook = sys.modules.get("IPython")
        if notebook is None or notebook.get_ipython() is None:
            raise UsageError(f"only a notebook shows a report inline: open {pasted(self.folder / FOLDER / PAGE)}")
        notebook.display.display(self)

    def _repr_html_(self) -> str | None:
        page = self.folder / FOLDER / PAGE
        if not page.is_file():
            return None
        source = html.escape(page.read_text(encoding="utf-8"))
        return f'<iframe srcdoc="{source}" style="width: 100%; height: 800px; border: 0"></iframe>'


def fit(root: str | os.PathLike[str] | None = None, **options: Any) -> Trained:
    """Train as ``python -m emotion_lightning fit`` does, with its defaults, seed, folder and report.

    Args:
        root: Folder of the images; by default faces are drawn.
        options: Options of the command line; those of a group as a mapping, as a configuration file has them:
            ``trainer={"max_epochs": 8}, model={"lr_classifier": 1e-3}, seed_everything=1``.

    Raises:
        EmotionError: The command line would end with this error.
    """
    if several := {"seeds", "folds"} & options.keys():
        raise UsageError(
            f"`{min(several)}` makes several runs, each of which is a call: "
            "[fit(root, seed_everything=seed) for seed in (1, 2, 3)]"
        )
    data = ({} if root is None else {"root": os.fspath(root)}) | options.pop("data", {})
    return Trained(_command("fit", {"data": data} | options))


def _command(name: str, options: Mapping[str, Any]) -> Path:
    """Run a command; return the folder of its run."""
    args, before = [name, *_arguments(options)], sys.argv
    sys.argv = [str(Path(emotion_lightning.__file__).with_name("__main__.py")), *args]  # which the run's folder keeps
    try:
        with redirect_stderr(sys.stdout):  # which a notebook shows in red
            return run_dir(run_lightning(args))
    except RunIsOver as over:
        print(over)
        return over.folder
    except SystemExit as end:
        if end.code == 128 + 2:
            raise KeyboardInterrupt from None
        if end.code == UsageError.exit_status:  # of the parser
            raise UsageError("the options were refused, as the line above says") from None
        raise
    finally:
        sys.argv = before


def _arguments(options: Mapping[str, Any]) -> Iterator[str]:
    """Write options as they are typed, so that the run's command can be pasted into a terminal."""
    for name, value in options.items():
        named = (
            {f"{name}.{key}": inner for key, inner in value.items()} if isinstance(value, Mapping) else {name: value}
        )
        for option, chosen in named.items():
            if option in FLAGS:
                yield from [f"--{option}"] * bool(chosen)
            else:
                yield f"--{option}={_typed(chosen)}"


def _typed(value: Any) -> str:
    if isinstance(value, str | os.PathLike):
        return os.fspath(value)
    return str(yaml.safe_dump(value, default_flow_style=True, width=sys.maxsize)).removesuffix("...\n").strip()
