"""Merging and leaving out classes, before labels are numbered."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from emotion_lightning.data.sources.labels import canonical_name
from emotion_lightning.data.sources.layouts.listing import SampleList
from emotion_lightning.errors import UsageError


@dataclass(frozen=True)
class ClassMap:
    """What becomes of the classes of the data; names are matched as everywhere, aliases included.

    Args:
        merge: New name of a class, and the classes that become it.
        drop: Classes whose images are left out.

    Raises:
        UsageError: A class is named twice.
    """

    merge: Mapping[str, Sequence[str]]
    drop: Sequence[str]

    def __post_init__(self) -> None:
        given = [*(name for names in self.merge.values() for name in names), *self.drop]
        if twice := [name for name, count in Counter(map(canonical_name, given)).items() if count > 1]:
            raise UsageError(f"`merge_classes` and `drop_classes` name class {twice[0]!r} twice: name it once")
        if hollow := [name for name, names in self.merge.items() if not names or not name.strip()]:
            raise UsageError(
                f"`merge_classes` {hollow[0]!r}: give a name and the classes to merge, {{new: [old, old]}}"
            )

    def apply(self, listing: SampleList, strict: bool = True, least: int = 2) -> SampleList:
        """Rename and leave out rows and classes; a merged class stands where the first of its members stood.

        Args:
            listing: The images, with the classes of the data.
            strict: Refuse names that are no class of the data. Otherwise they are said, and only classes that have
                images remain: a splits file holds the classes of a run, which may be merged already.
            least: Fewest classes that may remain.

        Raises:
            UsageError: A name is no class of the data, or too few classes remain.
        """
        known = {canonical_name(name): name for name in listing.class_names}
        if not strict:  # without a training split, classes may be in the rows alone
            rest = {canonical_name(row.emotion): row.emotion for row in listing.rows}
            known |= {key: name for key, name in rest.items() if key not in known}
        if strict and (unknown := self._absent(known)):
            raise UsageError(
                f"`merge_classes` or `drop_classes` names {unknown[0]!r}, which is no class of {listing.root} "
                f"(its classes are {', '.join(known.values())}): correct it or leave it out"
            )
        gone, new = set(map(canonical_name, self.drop)), self.new_names()
        places = [place for place, row in enumerate(listing.rows) if canonical_name(row.emotion) not in gone]
        smaller = listing.keep(places) if gone else listing
        names_of = {row.emotion: new.get(canonical_name(row.emotion), row.emotion) for row in smaller.rows}
        rows = [
            row if names_of[row.emotion] == row.emotion else row._replace(emotion=names_of[row.emotion])
            for row in smaller.rows
        ]
        found = {canonical_name(row.emotion) for row in rows}
        ordered = dict.fromkeys(new.get(key, name) for key, name in known.items() if key not in gone)
        names = tuple(name for name in ordered if strict or canonical_name(name) in found)
        if (self.merge or self.drop) and len(names) < least:
            raise UsageError(
                f"`merge_classes` and `drop_classes` leave {len(names)} of the classes "
                f"{', '.join(known.values())}: keep two"
            )
        notes = (*listing.notes, *self._notes(known, len(listing.rows) - len(places)))
        return replace(smaller, class_names=names, rows=rows, notes=notes)

    def new_names(self) -> dict[str, str]:
        """Map each class that is renamed; one that has the new name already is one of those merged."""
        old = {canonical_name(name): target for target, names in self.merge.items() for name in names}
        return {canonical_name(target): target for target in self.merge} | old

    def _absent(self, known: Mapping[str, str]) -> list[str]:
        given = (*(name for names in self.merge.values() for name in names), *self.drop)
        return [name for name in given if canonical_name(name) not in known]

    def _notes(self, known: Mapping[str, str], excluded: int) -> list[str]:
        notes = []
        for target, names in self.merge.items():
            others = [key for key in map(canonical_name, names) if key in known and key != canonical_name(target)]
            if found := [known[key] for key in others]:
                notes.append(f"{', '.join(found)} merged into {target}")
        if found := [known[canonical_name(name)] for name in self.drop if canonical_name(name) in known]:
            notes.append(f"{', '.join(found)} dropped ({excluded:,} images)")
        if absent := self._absent(known):
            notes.append(f"no {', '.join(absent)} to merge or drop")
        return notes
