"""Whether a run that is made again by an earlier one's configuration has the data of that run."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from emotion_lightning.runs.folder import from_here
from emotion_lightning.runs.provenance import data_of_run


def same_data(args: Sequence[str], now: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each configuration among ``args`` that lies in the folder of a run.

    Args:
        args: Arguments of the command line.
        now: What identifies the data that is there, as the datamodule says it.
    """
    following = (value for arg, value in pairwise(args) if arg in ("-c", "--config"))
    for file in (*following, *(arg[9:] for arg in args if arg.startswith("--config="))):
        run = Path(file).parent
        if Path(file).name == "config.yaml" and (before := data_of_run(run)):
            yield f"Data: the same as in {from_here(run)}: {compare(before, now)}"


def compare(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Say whether two data sets are the same, or what differs."""
    if before["fingerprint"] == now["fingerprint"]:
        return "yes" if before["root"] == now["root"] else f"yes, now in {now['root']}"
    images = {split: (count, now["images"].get(split, 0)) for split, count in before["images"].items()}
    other = [f"{split} had {was} images, and has {has}" for split, (was, has) in images.items() if was != has]
    return f"no: {', '.join(other) or 'other images, labels or splits'}"
