"""Votes of many people on what an image shows: the majority is its label."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from emotion_lightning.data.sources.labels import canonical_name
from emotion_lightning.data.sources.layouts.listing import SampleList

VoteTable = tuple[tuple[int, ...], ...]
"""For each image, how many people voted for each class."""


def majority(votes: Mapping[str, int]) -> str | None:
    """Return the answer that more than half of the votes are for; None where there is none.

    A vote that stands alone does not count, as in FER+'s published code (Barsoum et al., 2016).
    """
    counted = {answer: number for answer, number in votes.items() if number > 1}
    first = max(counted, key=counted.__getitem__, default=None)
    return first if first is not None and 2 * counted[first] > sum(counted.values()) else None


def count_votes(listing: SampleList, new_names: Mapping[str, str]) -> SampleList:
    """Give each image with votes its majority as class, and leave out those whose majority is no class.

    Votes of classes that are merged are added up before. A class that is given already, as by a splits file, stays;
    where it is not the majority, the image is known by it alone.

    Args:
        listing: The images; the class of those without one is "".
        new_names: Name that a class gets by merging, by its canonical name.
    """
    if all(row.votes is None for row in listing.rows):
        return listing
    classes = {canonical_name(name) for name in (*listing.class_names, *new_names.values())}
    rows, places, excluded, contradicted = [], [], Counter[str](), 0
    for place, row in enumerate(listing.rows):
        votes = Counter[str]()
        for answer, number in (row.votes or {}).items():
            votes[canonical_name(new_names.get(answer, answer))] += number
        known = canonical_name(row.emotion)
        first, emotion = majority(votes), canonical_name(new_names.get(known, known))
        if not emotion and first not in classes:
            excluded[first or "without a majority"] += 1
            continue
        agreed = emotion in ("", first)
        contradicted += not agreed
        rows.append(row._replace(emotion=row.emotion or first or "", votes=votes if agreed else None))
        places.append(place)
    found = {canonical_name(new_names.get(canonical_name(row.emotion), row.emotion)) for row in rows}
    named = [(name, canonical_name(new_names.get(canonical_name(name), name))) for name in listing.class_names]
    notes = [f"left out {', '.join(f'{n:,} {reason}' for reason, n in excluded.most_common())}"] * bool(excluded)
    notes += [f"{contradicted:,} images with a label other than their votes' majority"] * bool(contradicted)
    return replace(
        listing.keep(places),
        class_names=tuple(name for name, new in named if new in found),
        rows=rows,
        notes=(*listing.notes, *notes),
    )


def vote_table(listing: SampleList) -> VoteTable | None:
    """Return the votes for each class of ``listing``; an image without votes has one, for its class.

    None where no image has votes.
    """
    if all(row.votes is None for row in listing.rows):
        return None
    keys = [canonical_name(name) for name in listing.class_names]
    votes = (row.votes or {canonical_name(row.emotion): 1} for row in listing.rows)
    return tuple(tuple(found.get(key, 0) for key in keys) for found in votes)
