"""The command demo: a local page on which a model is tried."""

import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

from PIL import Image

from emotion_lightning.cli.messages import own_options
from emotion_lightning.cli.parser import HELP, OptionParser, add_face_options
from emotion_lightning.errors import DataError, UsageError, check_least
from emotion_lightning.inference.predictor import load
from emotion_lightning.runs.config import load_checkpoint
from emotion_lightning.runs.newest import checkpoint_named


def demo(args: Sequence[str], program: str, description: str) -> None:
    """Serve the page until it is interrupted."""
    from emotion_lightning.inference.demo import Demo, page, private_folder, served

    parser = OptionParser(prog=program, description=description)
    parser.add_argument("--ckpt_path", type=str, help=HELP["ckpt_path"])
    parser.add_argument(
        "--host", type=str, default="127.0.0.1", help="127.0.0.1 for this machine alone, 0.0.0.0 for its whole network."
    )
    parser.add_argument("--port", type=int | None, help="By default the first free one from 7860.")
    parser.add_argument("--examples", type=int, default=0, help="Validation images of the run to click on.")
    parser.add_argument("--data.root", type=str | None, help="Where the data of the checkpoint's run is now, if moved.")
    parser.add_argument("--device", type=str, help="cuda, cuda:1, mps or cpu; by default a GPU if there is one.")
    add_face_options(parser)
    config = parser.parse_args(list(args))
    with own_options("examples", "device"):
        if config.ckpt_path is None:
            raise UsageError("demo needs --ckpt_path, such as a run's best.ckpt")
        check_least("examples", config.examples, 0)
        with _ended_by_signals(), private_folder():
            config.ckpt_path = checkpoint_named(config.ckpt_path)
            predictor = load(config.ckpt_path, config.device, detect=config.face.detect, face_model=config.face.model)
            examples = _examples(config.ckpt_path, config.data.root, config.examples, predictor.class_names)
            with served(page(Demo(predictor), examples), config.host, config.port) as address:
                print(f"Open {address} in a browser; Ctrl-C ends it", flush=True)
                try:
                    while True:
                        time.sleep(3600)
                except KeyboardInterrupt:
                    print()


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let SIGTERM, and SIGHUP of a terminal that is closed, end the block as an error does, so that it cleans up."""

    def end(number: int, frame: Any) -> None:
        for other in before:
            signal.signal(other, signal.SIG_IGN)  # a second one would end the cleaning
        sys.exit(128 + number)

    known = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]  # Windows lacks one
    before = {number: signal.getsignal(number) for number in known}
    before = {number: how for number, how in before.items() if how != signal.SIG_IGN}  # after nohup, it goes on
    for number in before:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number, how in before.items():
            signal.signal(number, how)


def _examples(
    ckpt_path: str, root: str | None, count: int, class_names: Sequence[str]
) -> list[tuple[Image.Image, str]]:
    """Return as many validation images of the checkpoint's run, evenly over the classes, each with its label."""
    if not count:
        return []
    from emotion_lightning.export.pictures import pictures_of_run

    pictures = pictures_of_run(load_checkpoint(ckpt_path), ckpt_path, root)
    if not pictures.own:
        raise DataError("--examples are validation images of the checkpoint's run, which are not there: give `root`")
    return [(picture, class_names[label]) for picture, label in islice(pictures.take("val", count), count)]
