"""The pictures that an export is verified on: those of its run's validation split, as they were before any resizing."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from emotion_lightning.data.datamodule import EmotionDataModule
from emotion_lightning.data.dataset import spread
from emotion_lightning.data.images.decode import UnreadableImage
from emotion_lightning.data.measured import resolved
from emotion_lightning.data.sources.manifest import Split
from emotion_lightning.errors import DataError
from emotion_lightning.runs.config import checkpoint_config, splits_of_old_run


@dataclass(frozen=True)
class Pictures:
    """Labelled pictures of any size.

    Attributes:
        data: What they are, in words.
        read: Decodes the picture at a position, upright and RGB.
        labels: Class of each picture.
        splits: Positions of the pictures of each split; in the order in which they are to be taken if not all are.
        own: Whether they are those of the checkpoint's run, so that figures on them are figures of its data.
    """

    data: str
    read: Callable[[int], Image.Image]
    labels: Sequence[int]
    splits: Mapping[Split, Sequence[int]]
    own: bool

    def take(self, split: Split, most: int) -> Iterator[tuple[Image.Image, int]]:
        """Yield up to so many pictures of ``split`` with their labels, as even over the classes as it goes.

        Those that cannot be decoded are left out, as they are no part of what a model is measured on.
        """
        taken = 0
        for index in self.splits[split]:
            if taken == most:
                return
            try:
                yield self.read(index), self.labels[index]
            except UnreadableImage:
                continue
            taken += 1


def pictures_of_run(
    checkpoint: Mapping[str, Any], path: str, root: str | None = None, splits_file: str | None = None
) -> Pictures:
    """Find the pictures of the run that wrote a checkpoint.

    Where they are gone, and no other place is given, drawn faces take their place: agreement shows on any picture.

    Args:
        checkpoint: What ``load_checkpoint`` gave.
        path: The checkpoint's file.
        root: Where the run's data is now; by default where it was.
        splits_file: As ``EmotionDataModule`` takes it.

    Raises:
        DataError: There is no data at ``root``, or it has other classes or no validation images.
    """
    options = checkpoint_config(checkpoint, "validate")["data"]
    was = options["root"]
    state = checkpoint.get("EmotionDataModule", {})
    if root is None and not (state and (was is None or Path(was).exists())):
        why = f"the run's data is not in {was}" if state else "the checkpoint does not say which data its run had"
        warnings.warn(f"{why}: drawn faces take its place; give `root` if you have it", stacklevel=2)
        return _pictures(EmotionDataModule(), "drawn faces, as those of the run were not there", own=False)
    options |= {"root": root or was, "splits_file": splits_file or options["splits_file"]}
    if options["root"] == was and options["splits_file"] is None:
        options["splits_file"] = splits_of_old_run(checkpoint, path)
    data = EmotionDataModule(**options, seed=checkpoint["hyper_parameters"]["seed"])
    own = bool(state) and (resolved(data.root) == was or data.faces.holds(state.get("trained_on")))
    found = _pictures(data, ("" if own else "other data than that of the run: ") + data.manifest.describe(), own)
    if not found.splits["val"]:
        raise DataError(f"{data.root}: no validation images to verify the export on; give `root` other data")
    return found


def _pictures(data: EmotionDataModule, name: str, own: bool) -> Pictures:
    manifest = data.manifest
    splits: dict[Split, Sequence[int]] = {
        split: spread(data.indices(split), manifest.labels, data.faces.seed) for split in ("train", "val")
    }
    return Pictures(name, manifest.read, manifest.labels, splits, own)
