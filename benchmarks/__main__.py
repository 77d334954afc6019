"""How fast this project is, and how fast others are: one run, one table, one JSON file.

python -m benchmarks [SECTION ...] [--root faces/] [--output benchmarks.json]

All are given the same images, network, batch size, device and number of workers, and take turns. Without --root, drawn
faces are used, which are gone in the end. Let nothing else run on the machine.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.drawn_faces import write_faces
from benchmarks.figure import Figures
from benchmarks.goals import judge
from benchmarks.machine import machine
from benchmarks.peers import PEERS
from benchmarks.sections import SECTIONS
from benchmarks.setting import Setting, usual_setting
from benchmarks.table import report
from emotion_lightning.data.images.cache import CACHE_VARIABLE
from emotion_lightning.errors import EmotionError
from emotion_lightning.runs.files import write_json

LEAST_STEPS = 12
"""Steps that an epoch of drawn faces has at least."""


def main(args: Sequence[str] | None = None) -> None:
    """Measure what is asked for, print the table and write the JSON file.

    Args:
        args: Arguments behind the program's name; by default those of the process.
    """
    options = vars(_parser().parse_args(args))
    chosen, output = options.pop("sections") or list(SECTIONS), options.pop("output")
    try:
        with _images(usual_setting(options)) as setting:
            figures = Figures([figure for name in chosen for figure in SECTIONS[name].measure(setting)])
            where = machine()
            print(report(figures, setting, where))
            write_json(
                output,
                {
                    "setting": setting.as_dict(),
                    "machine": where,
                    "figures": [figure.as_dict() for figure in figures.all],
                    "goals": judge(figures, setting),
                },
            )
    except EmotionError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_status)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    about = "by default all: " + "; ".join(f"{name}, {section.about}" for name, section in SECTIONS.items())
    parser.add_argument("sections", nargs="*", metavar="SECTION", type=_section, help=about)
    parser.add_argument(
        "--peers", nargs="+", choices=PEERS, default=tuple(PEERS), help="who trains in the phases; by default all"
    )
    parser.add_argument("--root", type=Path, help="folder of images to train on; by default faces are drawn")
    parser.add_argument("--backbone", default="resnet50", help="name of a timm model")
    parser.add_argument("--image_size", type=int, default=224, help="side of the network's input in pixels")
    parser.add_argument("--batch_size", type=int, help="images of a step; by default 16, on a GPU 256")
    parser.add_argument("--rounds", type=int, default=5, help="how often everything is measured")
    parser.add_argument("--warm_up", type=int, help="steps before the clock starts; by default as many as --steps")
    parser.add_argument("--steps", type=int, help="steps on the clock; by default one for each worker, at least 3")
    parser.add_argument("--workers", type=int, help="processes that read images; by default as many as fit takes")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="by default a GPU if there is one")
    parser.add_argument("--least_seconds", type=float, default=0.2, help="how long to repeat what takes less")
    parser.add_argument("--output", type=Path, default=Path("benchmarks.json"), help="file for all values")
    return parser


def _section(name: str) -> str:
    if name not in SECTIONS:
        raise argparse.ArgumentTypeError(f"no section {name}; there are {', '.join(SECTIONS)}")
    return name


@contextmanager
def _images(options: dict[str, Any]) -> Iterator[Setting]:
    """Give the setting; without a folder of images, with one of drawn faces and a cache that both go away."""
    if options["root"] is not None:
        yield Setting(**options)
        return
    steps = max(LEAST_STEPS, options["warm_up"] + options["steps"])
    with TemporaryDirectory() as name:
        before, folder = os.environ.get(CACHE_VARIABLE), Path(name)
        os.environ[CACHE_VARIABLE] = str(folder / "cache")
        try:
            write_faces(folder / "faces", train=steps * options["batch_size"], val=4 * options["batch_size"])
            yield Setting(**{**options, "root": folder / "faces"})
        finally:
            os.environ.pop(CACHE_VARIABLE)
            if before is not None:
                os.environ[CACHE_VARIABLE] = before


if __name__ == "__main__":
    main()
