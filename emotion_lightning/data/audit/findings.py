"""The state of a data set: what is unreadable, copied, contradictory, or on both sides of a split."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import NamedTuple

import numpy as np

from emotion_lightning.data.audit.duplicates import Pair
from emotion_lightning.data.audit.scan import Scan
from emotion_lightning.data.sources.manifest import SPLITS, Manifest, Split


class Leak(NamedTuple):
    """An image and its closest copy in a split that comes before its own; positions in the manifest."""

    image: int
    copy: int
    kind: str
    similarity: float


class Alike(NamedTuple):
    """One reason why two images count as duplicates: equal pixels, near duplicate, or same group.

    Images that share ``key`` are duplicates.
    """

    key: str
    kind: str
    similarity: float


@dataclass(frozen=True, eq=False)
class Audit:
    """What is wrong with a data set, by position in its manifest.

    Attributes:
        manifest: Images, labels and splits.
        scan: What decoding every image has shown.
        pairs: Images that are copies of one another, identical ones linked in chains.
    """

    manifest: Manifest
    scan: Scan
    pairs: tuple[Pair, ...]

    @cached_property
    def unreadable(self) -> dict[int, str]:
        """Why each image that cannot be decoded cannot."""
        excluded = self.manifest.excluded
        reasons = enumerate(self.scan.reasons)
        return {index: reason for index, reason in reasons if reason is not None and index not in excluded}

    @cached_property
    def animated(self) -> list[int]:
        """Images of which only the first of several frames is used."""
        return np.flatnonzero(self.scan.frames > 1).tolist()

    @cached_property
    def identical(self) -> list[list[int]]:
        """Groups of images with the same pixels, each of two or more."""
        groups: defaultdict[str, list[int]] = defaultdict(list)
        for index, digest in enumerate(self.scan.digests):
            if self._is_used(index):
                groups[digest].append(index)
        return [group for group in groups.values() if len(group) > 1]

    @cached_property
    def near(self) -> list[Pair]:
        """Pairs of images that are copies, but not pixel by pixel; the most alike first."""
        digests = self.scan.digests
        pairs = [pair for pair in self.pairs if digests[pair.first] != digests[pair.second]]
        return [pair for pair in pairs if not self.manifest.excluded & {pair.first, pair.second}]

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
        for first, second in combinations(SPLITS, 2):
            leaks = [leak for index in self.manifest.indices(second) if (leak := self._closest(index, first))]
            if leaks:
                found[first, second] = sorted(leaks, key=lambda leak: (-leak.similarity, leak.kind != "exact"))
        return found

    def overlapping(self, indices: Iterable[int], known: Iterable[int]) -> set[int]:
        """Those of the images ``indices`` that are among the images ``known``, or have a duplicate there."""
        keys = {key for index in known for key in self._keys(index)}
        return {index for index in indices if any(alike.key in keys for alike in self._alike(index))}

    def duplicated_later(self) -> set[int]:
        """Images with a duplicate in a later split, which leaks if they are trained on."""
        found = set()
        for place, split in enumerate(SPLITS[:-1]):
            later = [index for other in SPLITS[place + 1 :] for index in self.manifest.indices(other)]
            found |= self.overlapping(self.manifest.indices(split), later)
        return found

    @cached_property
    def groups_across_splits(self) -> dict[str, list[int]]:
        """Groups (a subject, an image and what was made of it) with images in more than one split."""
        members: defaultdict[str, list[int]] = defaultdict(list)
        for index, group in enumerate(self.manifest.groups or ()):
            if group is not None and index not in self.manifest.excluded:
                members[group].append(index)
        splits = self.manifest.splits
        return {name: group for name, group in members.items() if len({splits[index] for index in group}) > 1}

    @cached_property
    def sizes(self) -> dict[str, int]:
        """How many readable images have each width and height, such as ``48 x 48``; the most frequent first."""
        sizes = zip(self.scan.widths.tolist(), self.scan.heights.tolist(), strict=True)
        return dict(Counter(f"{width} x {height}" for width, height in sizes if width).most_common())

    def _is_used(self, index: int) -> bool:
        return self.scan.reasons[index] is None and index not in self.manifest.excluded

    def _closest(self, index: int, split: Split) -> Leak | None:
        copies = (
            Leak(index, place, alike.kind, alike.similarity)
            for alike in self._alike(index)
            if (place := self._first.get((alike.key, split))) is not None
        )
        return max(copies, key=lambda leak: (leak.similarity, leak.kind == "exact", -leak.copy), default=None)

    def _keys(self, index: int) -> list[str]:
        """What an image shares with its identical copies, and with its group if that is in several splits."""
        if not self._is_used(index):
            return []
        group = self.manifest.groups[index] if self.manifest.groups else None
        return [self.scan.digests[index], *([f"group {group}"] if group in self.groups_across_splits else [])]

    def _alike(self, index: int) -> Iterator[Alike]:
        """Every reason why other images count as duplicates of one."""
        for key, kind in zip(self._keys(index), ("exact", "group"), strict=False):
            yield Alike(key, kind, 1.0 if kind == "exact" else 0.0)
        yield from self._near_digests.get(self.scan.digests[index], ())

    @cached_property
    def _near_digests(self) -> dict[str, list[Alike]]:
        """The digests that each is a near copy of: those of identical images stand for all of them."""
        found: defaultdict[str, list[Alike]] = defaultdict(list)
        for pair in self.near:
            first, second = self.scan.digests[pair.first], self.scan.digests[pair.second]
            found[first].append(Alike(second, pair.kind, pair.similarity))
            found[second].append(Alike(first, pair.kind, pair.similarity))
        return found

    @cached_property
    def _first(self) -> dict[tuple[str, Split], int]:
        """First image with each key in each split."""
        places: dict[tuple[str, Split], int] = {}
        for index, split in enumerate(self.manifest.splits):
            for key in self._keys(index):
                places.setdefault((key, split), index)
        return places
