"""The command that writes a folder from which other programs can use a model."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from emotion_lightning.cli.messages import own_options
from emotion_lightning.cli.parser import HELP, OptionParser
from emotion_lightning.errors import UsageError
from emotion_lightning.runs.newest import checkpoint_named

if TYPE_CHECKING:
    from emotion_lightning.export.folder import Export

OWN = ("quantize",)
"""Parameters in an error that are options of export itself and not of a run."""


def export(args: Sequence[str], program: str, description: str) -> None:
    """Export a checkpoint, and print how far each file agrees with it."""
    from emotion_lightning.export.folder import export as write  # which other commands need not import

    parser = OptionParser(prog=program, description=description)
    parser.add_argument(
        "--ckpt_path",
        type=str | None,
        help=HELP["ckpt_path"],
    )
    parser.add_argument("--output", type=str | None, help="Folder to make; it must not exist yet.")
    parser.add_argument(
        "--license", type=str | None, help="License of the weights for the model card, such as cc-by-nc-4.0."
    )
    parser.add_argument(
        "--quantize",
        choices=["none", "int8"],
        default="none",
        help="int8 adds a smaller and faster network of 8-bit numbers, and measures what it costs.",
    )
    parser.add_argument("--data.root", type=str | None, help="Where the data of the checkpoint's run is now, if moved.")
    parser.add_argument("--data.splits_file", type=str | None, help="CSV file with its splits, such as splits.csv.")
    given = parser.parse_args(list(args))
    for name, example in (("ckpt_path", "a run's best.ckpt"), ("output", "model/")):
        if given[name] is None:
            raise UsageError(f"export needs --{name}, such as {example}")
    with own_options(*OWN):
        done = write(
            Path(checkpoint_named(given.ckpt_path)).expanduser(),
            Path(given.output).expanduser(),
            given.license,
            given.quantize,
            given.data.root,
            given.data.splits_file,
        )
    print(summary(done))


def summary(done: "Export") -> str:
    """Say what was verified, what 8 bits cost, and where it all is."""
    rows = [("file", "at once, up to", "greatest difference", "different answers")]
    rows += [
        (found.artifact, str(found.batch), f"{found.greatest_difference:.1e}", str(found.different_answers))
        for found in done.agreements
    ]
    lines = [f"Verified on {done.agreements[0].images:,} pictures ({done.pictures}) against the checkpoint:"]
    lines += [f"  {name:<12}{batch:>15}{difference:>22}{answers:>20}" for name, batch, difference, answers in rows]
    if small := done.quantized:
        lines.append(
            f"8-bit: {small.bytes / 1e6:.1f} MB instead of {small.bytes_before / 1e6:.1f}, "
            f"{small.per_second / small.per_second_before:.1f} times as fast here, accuracy {small.accuracy:.4f} "
            f"instead of {small.accuracy_before:.4f} on {small.images:,} validation images (p = {small.p:.2g})"
        )
    size = sum(file.stat().st_size for file in done.folder.rglob("*"))
    return "\n".join([*lines, f"Wrote {done.folder} ({size / 1e6:.1f} MB); README.md in there says how to use it"])
