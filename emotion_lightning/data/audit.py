"""The state of a data set: what is unreadable, copied, contradictory, or on both sides of a split."""

from collections import Counter, defaultdict
from collections.abc import Container, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from emotion_lightning.data.duplicates import Pair
from emotion_lightning.data.manifest import SPLITS, Manifest, Split
from emotion_lightning.data.scan import Scan


class Leak(NamedTuple):
    """An image and its closest copy in a split that comes before its own; positions in the manifest."""

    image: int
    copy: int
    kind: str
    similarity: float


@dataclass(frozen=True, eq=False)
class Audit:
    """What is wrong with a data set, by position in its manifest.

    Attributes:
        manifest: Images, labels and splits.
        scan: What decoding every image has shown.
        pairs: Images that are copies of one another, identical ones linked in chains.
        others: Files in the data set's folder that are no images, as paths below it.
    """

    manifest: Manifest
    scan: Scan
    pairs: tuple[Pair, ...]
    others: tuple[str, ...] = ()

    @cached_property
    def unreadable(self) -> dict[int, str]:
        """Why each image that cannot be decoded cannot."""
        return {index: reason for index, reason in enumerate(self.scan.reasons) if reason is not None}

    @cached_property
    def animated(self) -> list[int]:
        """Images of which only the first of several frames is used."""
        return np.flatnonzero(self.scan.frames > 1).tolist()

    @cached_property
    def identical(self) -> list[list[int]]:
        """Groups of images with the same pixels, each of two or more."""
        groups: defaultdict[str, list[int]] = defaultdict(list)
        for index, digest in enumerate(self.scan.digests):
            if index not in self.unreadable:
                groups[digest].append(index)
        return [group for group in groups.values() if len(group) > 1]

    @cached_property
    def near(self) -> list[Pair]:
        """Pairs of images that are copies, but not pixel by pixel; the most alike first."""
        digests = self.scan.digests
        return [pair for pair in self.pairs if digests[pair.first] != digests[pair.second]]

    @cached_property
    def conflicts(self) -> list[list[int]]:
        """Groups of images with the same pixels and different labels."""
        labels = self.manifest.labels
        return [group for group in self.identical if len({labels[index] for index in group}) > 1]

    @cached_property
    def near_conflicts(self) -> list[Pair]:
        """Pairs of near copies with different labels."""
        labels = self.manifest.labels
        return [pair for pair in self.near if labels[pair.first] != labels[pair.second]]

    @cached_property
    def leaks(self) -> dict[tuple[Split, Split], list[Leak]]:
        """For each two splits that share copies, the images of the later one with their closest copy in the first."""
        found: dict[tuple[Split, Split], list[Leak]] = {}
        for first in SPLITS:
            for second in SPLITS[SPLITS.index(first) + 1 :]:
                leaks = [leak for index in self.manifest.indices(second) if (leak := self._closest(index, first))]
                if leaks:
                    found[first, second] = sorted(leaks, key=lambda leak: (-leak.similarity, leak.kind != "exact"))
        return found

    def leaked(self, split: Split, without: Container[int] = ()) -> set[int]:
        """Images of ``split`` with a copy in a split before it; images in ``without`` are no copies."""
        before = SPLITS[: SPLITS.index(split)]
        return {
            index
            for index in self.manifest.indices(split)
            if any(copy not in without and self.manifest.splits[copy] in before for copy in self._alike(index))
        }

    def copied_ahead(self) -> set[int]:
        """Images with a copy in a split after theirs: what training must do without, or the copy leaks."""
        place = [SPLITS.index(split) for split in self.manifest.splits]
        leaking = {leak.image for leaks in self.leaks.values() for leak in leaks}
        return {copy for index in leaking for copy in self._alike(index) if place[copy] < place[index]}

    @cached_property
    def crossing(self) -> dict[str, list[int]]:
        """Groups (a subject, an image and what was made of it) with images in more than one split."""
        members: defaultdict[str, list[int]] = defaultdict(list)
        for index, group in enumerate(self.manifest.groups or ()):
            if group is not None:
                members[group].append(index)
        splits = self.manifest.splits
        return {name: group for name, group in members.items() if len({splits[index] for index in group}) > 1}

    @cached_property
    def sizes(self) -> dict[str, int]:
        """How many readable images have each width and height, such as ``48 x 48``; the most frequent first."""
        sizes = zip(self.scan.widths.tolist(), self.scan.heights.tolist(), strict=True)
        return dict(Counter(f"{width} x {height}" for width, height in sizes if width).most_common())

    def _closest(self, index: int, split: Split) -> Leak | None:
        splits = self.manifest.splits
        copies = [Leak(index, *copy) for copy in self._copies.get(index, ()) if splits[copy[0]] == split]
        copies += [Leak(index, other, "group", 0.0) for other in self._relatives(index) if splits[other] == split]
        return max(copies, key=lambda leak: (leak.similarity, -leak.copy), default=None)

    def _alike(self, index: int) -> Iterator[int]:
        yield from (copy[0] for copy in self._copies.get(index, ()))
        yield from self._relatives(index)

    @cached_property
    def _copies(self) -> dict[int, list[tuple[int, str, float]]]:
        """All copies of each image: identical ones, near ones, and what is identical to these."""
        copies: defaultdict[int, list[tuple[int, str, float]]] = defaultdict(list)
        same = {index: group for group in self.identical for index in group}
        for group in self.identical:
            for index in group:
                copies[index] += [(other, "exact", 1.0) for other in group if other != index]
        for pair in self.near:
            for one in same.get(pair.first, [pair.first]):
                for other in same.get(pair.second, [pair.second]):
                    copies[one].append((other, pair.kind, pair.similarity))
                    copies[other].append((one, pair.kind, pair.similarity))
        return copies

    def _relatives(self, index: int) -> Iterator[int]:
        """The other images of a group that crosses splits."""
        group = self.manifest.groups[index] if self.manifest.groups else None
        return (other for other in self.crossing.get(group, ()) if other != index) if group else iter(())
