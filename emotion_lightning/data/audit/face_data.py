"""The images of a data set: read, inspected, split and audited, each once and not before it is asked for."""

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from emotion_lightning.data.audit.findings import Audit
from emotion_lightning.data.audit.inspection import Inspection, inspect
from emotion_lightning.data.audit.scan import content_hashes, look
from emotion_lightning.data.augment import resize_size
from emotion_lightning.data.images.cache import Cache
from emotion_lightning.data.images.cached import CachedImages
from emotion_lightning.data.images.decode import Files
from emotion_lightning.data.sources.builtin import builtin_manifest
from emotion_lightning.data.sources.corrections import correct
from emotion_lightning.data.sources.layouts import SampleList
from emotion_lightning.data.sources.manifest import Manifest, Split, complete_splits, read
from emotion_lightning.data.sources.splits import Fold
from emotion_lightning.errors import UsageError
from emotion_lightning.runtime.ranks import is_first_rank


class FaceData:
    """The images of a data set.

    Args:
        root: Folder or file of the data; None for the built-in faces.
        image_size: Side in pixels at which images are evaluated.
        seed: Of a cut, and of the built-in faces.
        cache_gb: Most that the decoded images may take on disk in 10⁹ bytes.
        whole: Leave the data uncut, as :func:`complete_splits` does.
        fold: The fold that is the validation split, if folds are cut.
        corrections: File of corrections of labels, as :func:`correct` takes it.
        reading: Further arguments of :func:`read`; none but ``class_names`` goes with the built-in faces.
    """

    def __init__(
        self,
        root: Path | None,
        image_size: int,
        seed: int,
        cache_gb: float,
        whole: Split | None = None,
        fold: Fold | None = None,
        corrections: Path | None = None,
        **reading: Any,
    ):
        self.root, self.image_size, self.seed, self.cache_gb, self.reading = root, image_size, seed, cache_gb, reading
        self.whole, self.fold, self.corrections = whole, fold, corrections

    def measured(self, whole: Split | None = None, **reading: Any) -> "FaceData":
        """The same data for a model that is only measured on it; ``whole`` and ``reading`` as for the constructor."""
        own = {"fold": self.fold, "corrections": self.corrections}
        reading = self.reading | own | reading | {"training": False}
        return FaceData(self.root, self.image_size, self.seed, self.cache_gb, whole, **reading)

    @property
    def was_read(self) -> bool:
        """Whether the images were asked for."""
        return "listing" in vars(self) or "manifest" in vars(self)

    def holds(self, trained_on: Tensor | None) -> bool:
        """Say whether all images with these content hashes are here; so it is where a checkpoint names none."""
        if trained_on is None:
            return True
        if self.root is None or not len(trained_on):
            return False
        return bool(torch.isin(trained_on, content_hashes(self.inspection.scan.digests)).all())

    @cached_property
    def listing(self) -> SampleList:
        """The images as their folder has them, perhaps without splits."""
        assert self.root is not None
        return read(self.root, **self.reading)

    @cached_property
    def inspection(self) -> Inspection:
        """What every image is like, and which are copies of one another."""
        return inspect(self.listing.source, self._cache(resize_size(self.image_size)), is_first_rank())

    @cached_property
    def manifest(self) -> Manifest:
        """Every image with its label and split; missing splits are cut so that copies stay together."""
        if self.root is None:
            given = [
                name for name, value in self.reading.items() if value and value != "auto" and name != "class_names"
            ]
            given += ["data.folds"] * (self.fold is not None) + ["corrections"] * (self.corrections is not None)
            if given:
                raise UsageError(f"`{given[0]}` is for data of your own: give `root`")
            return builtin_manifest(self.seed, self.reading["class_names"], self.reading.get("training", True))
        cut = self.whole is None and (self.fold is not None or self.listing.lacks_splits)
        groups = self.inspection.split_groups() if cut else []
        made = complete_splits(self.listing, self.seed, *groups, whole=self.whole, fold=self.fold)
        if self.corrections is None:
            return made
        return correct(made, self.inspection.scan.digests, self.corrections)  # after the cut, which so stays

    @cached_property
    def audit(self) -> Audit | None:
        """What is wrong with the data; None for the built-in faces, of which every one is drawn anew."""
        return None if self.root is None else Audit(self.manifest, *self.inspection[:2])

    def reader(self, side: int, positions: Sequence[int] = ()) -> Callable[[int], Image.Image]:
        """What reads the image at a position, for use at ``side`` pixels.

        Images that are files come from the cache, where the inspection has put them for training; those at
        ``positions`` are put there now. What has looked at a file reads it, so that none is asked twice for its state.
        """
        source = self.manifest.read
        if not isinstance(source, Files):
            return source
        if positions:
            read = look(Files([source.names[place] for place in positions]), self._cache(side), is_first_rank()).read
            assert isinstance(read, CachedImages)  # there is a cache
            return read.among(source.names, positions)
        inspected = "inspection" in vars(self) and side == resize_size(self.image_size)
        return self.inspection.read if inspected else self._cache(side).reader(source.names)

    def _cache(self, side: int) -> Cache:
        assert self.root is not None
        return Cache(self.root, side, self.cache_gb)
