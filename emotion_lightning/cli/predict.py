"""The command predict: a model's answers for pictures, as a table."""

import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch
from tqdm import tqdm

from emotion_lightning.cli.messages import own_options
from emotion_lightning.cli.parser import HELP, OptionParser, add_face_options
from emotion_lightning.data.images.decode import UnreadableImage
from emotion_lightning.errors import DataError, UsageError, check_least
from emotion_lightning.inference.paths import LIST, listed_pictures, named_pictures
from emotion_lightning.inference.predictor import Predictor, load
from emotion_lightning.inference.tables import ENDINGS, Write, answers_file, answers_output, format_of
from emotion_lightning.options import PROGRAM
from emotion_lightning.runs.files import ensure_writable
from emotion_lightning.runs.newest import checkpoint_named

OF_RUNS = ("--config", *(f"--{group}." for group in ("data", "model", "trainer", "predict", "predictions")))
"""How options begin that predict had when it was one of Lightning's commands."""


OWN = ("batch_size", "device", "tta", "output", "format")
"""Options of predict that an error may name as parameters."""


def predict(args: Sequence[str], program: str, description: str) -> None:
    """Answer for every picture that is named, and say at the end for how many there is no answer."""
    if of_run := next((arg for arg in args if arg.startswith(OF_RUNS)), None):
        raise UsageError(
            f"predict has no {of_run.partition('=')[0]}: it takes the pictures themselves, as in "
            f"{PROGRAM} predict --ckpt_path best.ckpt faces/ --output answers.csv"
        )
    config = _parser(program, description).parse_args(list(args))
    with own_options(*OWN):
        if config.ckpt_path is None:
            raise UsageError("predict needs --ckpt_path, such as a run's best.ckpt")
        check_least("batch_size", config.batch_size, 1)
        output = None if config.output in (None, LIST) else Path(os.path.expanduser(config.output))
        if output is not None:
            _check(output, config.overwrite)
        format = format_of(output, config.format)
        pictures, total = _pictures(config.pictures)
        predictor = load(
            checkpoint_named(config.ckpt_path), config.device, config.tta, config.face.detect, config.face.model
        )
        if predictor.device.type == "cpu":
            torch.set_num_threads(1)  # of each batch: a batch a core is a third faster than all cores for one
        with _written_to(output, format, predictor.class_names) as write:
            bar = sys.stderr.isatty() and not (output is None and sys.stdout.isatty())  # rows show how far it is
            done = _answer(predictor, pictures, total, config.batch_size, write, bar)
    print(f"{'' if output is None else f'Wrote {output}: '}{done}", file=sys.stderr)
    if done.unanswered == done.rows:
        raise DataError(
            f"no picture has an answer; the first: {done.first}" if done.pictures else "no picture was named"
        )


def _parser(program: str, description: str) -> OptionParser:
    parser = OptionParser(prog=program, description=description)
    parser.add_argument(
        "pictures",
        nargs="*",
        type=str,
        metavar="PATH",
        help="Picture, folder with all below it, quoted pattern such as 'faces/**/*.jpg', CSV file with a column path, "
        "filepath, image or file, or - for a list on standard input, one path a line.",
    )
    parser.add_argument("--ckpt_path", type=str, help=HELP["ckpt_path"])
    parser.add_argument(
        "--output", type=str, help="File to write, .csv, .jsonl or .parquet; by default, or as -, standard output."
    )
    parser.add_argument("--overwrite", action="store_true", help="Replace a file that --output names.")
    parser.add_argument(
        "--format",
        type=str,
        help=f"{', '.join(ENDINGS)}: deepface and fer are JSON Lines of what these libraries return; by default as the "
        "file ends, csv on standard output.",
    )
    parser.add_argument("--batch_size", type=int, default=32, help="Pictures that the model is given at a time.")
    parser.add_argument("--device", type=str, help="cuda, cuda:1, mps or cpu; by default a GPU if there is one.")
    parser.add_argument(
        "--tta", type=str, help="Views that are averaged: none, flip or tencrop; by default as the run measured."
    )
    add_face_options(parser)
    return parser


def _check(output: Path, overwrite: bool) -> None:
    if output.is_dir():
        raise UsageError(f"`output` {output} is a folder; name a file in it")
    if os.path.lexists(output) and not overwrite:  # a link that leads nowhere is something as well
        raise UsageError(f"`output` {output} exists; give --overwrite to replace it, or another name")
    ensure_writable(output.parent, "`output`")


def _pictures(given: Sequence[str]) -> tuple[Iterable[str | UnreadableImage], int | None]:
    """Return the paths that are named, and how many; None where a list is still to come on standard input."""
    if not given:
        raise UsageError(
            f"predict needs pictures: files, folders, patterns, CSV files, or {LIST} for a list on standard input"
        )
    if LIST in given:
        if len(given) > 1:
            raise UsageError(f"{LIST}, a list on standard input, goes with no other paths")
        return listed_pictures(sys.stdin.buffer), None
    notes = list[str]()
    found = named_pictures(given, notes)
    for note in notes:
        print(note, file=sys.stderr)
    return found, len(found)


@contextmanager
def _written_to(output: Path | None, format: str, class_names: Sequence[str]) -> Iterator[Write]:
    if output is not None:
        with answers_file(output, format, class_names) as write:
            yield write
        return
    with answers_output(format, class_names) as write:
        yield write
    sys.stdout.flush()


class Summary(NamedTuple):
    """How many pictures there were and how many rows, those without an answer and uncertain, and what the first lacked.

    A photograph has a row for each of its faces.
    """

    pictures: int
    rows: int
    unanswered: int
    uncertain: int
    seconds: float
    first: str

    def __str__(self) -> str:
        parts = [f"{self.pictures:,} picture{'s' * (self.pictures != 1)}, {self.pictures / self.seconds:,.0f} a second"]
        if self.rows != self.pictures:
            parts.append(f"{self.rows:,} rows, as a photograph has one for each face")
        if self.unanswered:
            parts.append(f"{self.unanswered:,} without an answer, for the reason beside them")
        if self.uncertain:
            parts.append(f"{self.uncertain:,} uncertain")
        return "; ".join(parts)


def _answer(
    predictor: Predictor,
    pictures: Iterable[str | UnreadableImage],
    total: int | None,
    batch_size: int,
    write: Write,
    bar: bool,
) -> Summary:
    taken = rows = unanswered = uncertain = 0

    def counted() -> Iterator[str | UnreadableImage]:
        nonlocal taken
        for taken, picture in enumerate(pictures, 1):  # noqa: B007
            yield picture

    first, start = "", time.perf_counter()
    answers = predictor.stream(counted(), batch_size)
    try:
        with tqdm(desc="Predicting", total=total, unit=" pictures", disable=not bar) as shown:
            for answer in answers:
                write(answer)
                shown.update(answer.part == 0)  # a picture has a row for each of its faces
                rows += 1
                uncertain += answer.uncertain
                unanswered += answer.error is not None
                if answer.error is not None and not first:
                    first = f"{answer.path}: {answer.error}"
    except torch.OutOfMemoryError as error:
        raise UsageError(f"`batch_size` {batch_size} is too large for the device's memory; halve it") from error
    return Summary(taken, rows, unanswered, uncertain, time.perf_counter() - start, first)
