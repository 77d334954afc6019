"""The manifest: which images a data set has, with their class and split, whatever the layout they are kept in."""

import csv
import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from PIL import Image

from emotion_lightning.data.images.decode import Files
from emotion_lightning.data.sources.class_map import ClassMap
from emotion_lightning.data.sources.columns import columns_of
from emotion_lightning.data.sources.folder import linked_message, real_files, unread_files
from emotion_lightning.data.sources.groups import join_groups, with_groups
from emotion_lightning.data.sources.labels import canonical_name, class_ids, is_emotion
from emotion_lightning.data.sources.layouts import Format, SampleList, read_layout, read_splits_file
from emotion_lightning.data.sources.layouts.contents import is_table
from emotion_lightning.data.sources.splits import (
    ALL_FROM_ONE,
    SPLITS,
    VAL_FROM_TRAIN,
    Fold,
    Split,
    fold_split,
    stratified_group_split,
    verify_split,
)
from emotion_lightning.data.sources.votes import VoteTable, count_votes, vote_table
from emotion_lightning.errors import DataError
from emotion_lightning.runs.files import PATH_ERRORS, atomic_csv
from emotion_lightning.runtime.collector import paused_collector

__all__ = ["SPLITS", "Manifest", "Split", "complete_splits", "read", "read_manifest", "write_splits"]

MOST_NAMED = 12
"""Most classes that a line names."""


@dataclass(frozen=True)
class Manifest:
    """The images of a data set, one position for each in ``names``, ``labels`` and ``splits``.

    Attributes:
        layout: How the data is kept, in words.
        root: Folder that ``names`` start from; None when the images come from no folder.
        class_names: The classes as the data spells them; labels are positions in it.
        names: Path of each image below ``root``, with forward slashes (absolute when outside ``root``); for a row of
            a CSV with pixels "fer2013.csv:LINE", the first image being on line 2.
        labels: Class of each image, ``0 <= label < len(class_names)``.
        splits: Split of each image.
        read: Decodes the image at a position as RGB; can be sent to worker processes.
        cut: The splits that were made by a cut here, rather than given by the data.
        groups: What each image has in common with others that a cut keeps in its split, such as its subject or the
            original that it is a copy of; None for an image without. None when no image has a group.
        notes: What :meth:`describe` says besides numbers, such as which classes were merged.
        unread: Files in the data's folder that are neither read nor describe it, as paths below it.
        votes: How many people saw each of ``class_names`` in each image, most of them its label; None where nobody was
            asked.
        unknown: Classes that the model does not know, with the number of images that are left out therefore.
        given: Labels before they were corrected; None where no corrections were given.
        excluded: Positions of the images that corrections leave out; they keep their split, and are not used.
        columns: The further columns of the tables, by name, with their value for every image; None where it is empty.
    """

    layout: str
    root: Path | None
    class_names: tuple[str, ...]
    names: tuple[str, ...]
    labels: tuple[int, ...]
    splits: tuple[Split, ...]
    read: Callable[[int], Image.Image]
    cut: tuple[Split, ...] = ()
    groups: tuple[str | None, ...] | None = None
    notes: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    votes: VoteTable | None = None
    unknown: Mapping[str, int] = field(default_factory=dict)
    given: tuple[int, ...] | None = None
    excluded: frozenset[int] = frozenset()
    columns: Mapping[str, tuple[str | None, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def files(self) -> Sequence[str] | None:
        """Path of each image as text, or None when the images are not files."""
        return self.read.names if isinstance(self.read, Files) else None

    @property
    def paths(self) -> tuple[Path, ...] | None:
        """The file of each image, or None when the images are not files."""
        return self.read.paths if isinstance(self.read, Files) else None

    def indices(self, split: Split) -> list[int]:
        """Positions of the images of ``split`` that are not excluded."""
        return list(self._indices[split])

    @cached_property
    def _indices(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {each: [] for each in SPLITS}
        for index, split in enumerate(self.splits):
            if index not in self.excluded:
                found[split].append(index)
        return found

    def as_given(self) -> "Manifest":
        """The same without corrections."""
        return self if self.given is None else replace(self, labels=self.given, given=None, excluded=frozenset())

    def counts(self, split: Split) -> dict[str, int]:
        """Number of images of each class in ``split``, in the order of ``class_names``."""
        found = Counter(self.labels[index] for index in self.indices(split))
        return {name: found[label] for label, name in enumerate(self.class_names)}

    def describe(self) -> str:
        """One line such as "folder tree with splits, 2 classes (angry, happy), 28,709 train, 3,589 val"."""
        sizes = {split: len(self.indices(split)) for split in SPLITS}
        parts = [f"{sizes[split]:,} {split}{' (cut)' * (split in self.cut)}" for split in SPLITS if sizes[split]]
        there = set(self.labels)  # of the classes of a model, other data may lack some
        classes = [name for label, name in enumerate(self.class_names) if label in there]
        names = [*classes[:MOST_NAMED], "…"][: len(classes)]
        sizes_said = ", ".join([self.layout, f"{len(classes)} classes ({', '.join(names)})", *parts])
        return "; ".join([sizes_said, *self.notes])

    def fingerprint(self, with_votes: bool = False) -> str:
        """SHA-256 over the names, classes and splits of all images, whatever their order and the aliases used.

        Args:
            with_votes: Over the votes, too, if there are any.
        """
        classes = [canonical_name(name) for name in self.class_names]
        rows = zip(self.names, self.labels, self.splits, strict=True)
        lines = [f"{name}\0{classes[label]}\0{split}\n" for name, label, split in rows]
        if with_votes and self.votes is not None:
            counted = zip(self.names, self.votes, strict=True)
            lines += [f"{name}\0{sorted(zip(classes, votes, strict=True))}\n" for name, votes in counted]
        lines += [f"{self.names[place]}\0left out\n" for place in self.excluded]
        lines.sort()
        return hashlib.sha256("".join(lines).encode("utf-8", PATH_ERRORS)).hexdigest()


@paused_collector()
def read(
    root: Path,
    class_names: Sequence[str] | None = None,
    splits_file: Path | None = None,
    layout: Format = "auto",
    merge_classes: Mapping[str, Sequence[str]] | None = None,
    drop_classes: Sequence[str] = (),
    group_regex: str | None = None,
    allow_outside: bool = False,
    training: bool = True,
) -> SampleList:
    """List the data set at ``root``, whose layout is found by looking, with its classes merged, dropped and ordered.

    Args:
        root: Folder with the data, or a FER2013 CSV file.
        class_names: Classes in the order that labels shall follow, such as those of a checkpoint; matched by canonical
            name. By default the order of the data: its label map, FER2013's ids, or the alphabet.
        splits_file: CSV file from :func:`write_splits`; exactly the images it names are used, split as it says.
        layout: How the data is kept; by default that is found by looking.
        merge_classes: New class names, each with the classes that become it.
        drop_classes: Classes whose images are left out.
        group_regex: Regular expression; what its first group, or that named subject, finds in the names of images below
            ``root`` keeps them in one split.
        allow_outside: Whether tables may name images outside of ``root`` and of the folder of ``splits_file``.
        training: Whether a model is to be trained on it. Otherwise one that knows ``class_names`` is only measured: no
            split and no class need be there, and images of classes that it does not know are left out.

    Raises:
        DataError: The data cannot be used as it is; the message says where and what to do.
        UsageError: A class to merge or drop is unknown, or ``group_regex`` matches nothing.
    """
    root, classes = Path(os.path.abspath(root.expanduser())), ClassMap(merge_classes or {}, drop_classes)
    try:
        if splits_file is None:
            listing = read_layout(root, layout)
        else:
            listing = read_splits_file(root, splits_file, layout, classes.merge)
    except OSError as error:  # a folder without permission, a name too long for the file system
        raise DataError(f"{error.filename or root} cannot be read: {error.strerror}") from error
    if not allow_outside:
        _refuse_outside(listing, (root, root.resolve(), *([splits_file.absolute().parent] if splits_file else [])))
    images = listing.source.names if isinstance(listing.source, Files) else ()
    read_files = real_files((*images, *listing.known_files))
    listing = replace(listing, unread=_unread(root, read_files, splits_file))
    listing = count_votes(listing, classes.new_names())
    linked = filter(None, [linked_message(root, read_files)])
    if not training:
        listing = replace(listing, notes=(*listing.notes, *linked))
        listing = classes.apply(with_groups(listing, group_regex), strict=False, least=1)
        return listing if class_names is None else _shared(listing, class_names)
    listing = classes.apply(with_groups(listing, group_regex), strict=splits_file is None)
    if splits_file is not None and (lacking := {"train", "val"} - {row.split for row in listing.rows}):
        raise DataError(f"{splits_file} has no rows of split {min(lacking)!r}: add some")
    _check_classes(listing)
    listing = replace(listing, notes=(*listing.notes, *_strange_classes(listing.class_names, classes.merge), *linked))
    return listing if class_names is None else replace(listing, class_names=_reorder(listing, class_names))


def complete_splits(
    listing: SampleList,
    seed: int,
    *keys: Sequence[str | None],
    whole: Split | None = None,
    fold: Fold | None = None,
) -> Manifest:
    """Make a manifest of the images that were read, and cut the splits that they do not come with.

    Without validation images 15 % of the training images become them; a data set without any splits is cut 70/15/15.
    A test set is never cut out of given splits. For a fold all images but those of the test split are cut anew.

    Args:
        listing: The images.
        seed: Of the cut.
        keys: What a cut keeps together besides the groups of the listing: sequences with a key or None for each image,
            such as a hash of its pixels. Only folds and a listing that ``lacks_splits`` need them; each image has one.
        whole: Cut nothing, as a model is measured on other data than its own; where the data has one split or none, all
            its images are in this one.
        fold: The fold that is the validation split.

    Raises:
        DataError: A class has too few different images to be in every split.
    """
    labels, given, notes, groups = listing.labels, [row.split for row in listing.rows], listing.notes, listing.groups
    made: tuple[Split, ...] = ()
    if whole is not None:
        if len(set(given)) == 1:
            notes = (*notes, "all of it is measured")
        given = [whole if len(set(given)) == 1 else split for split in given]
    elif fold is not None or listing.lacks_splits:
        source: Collection[Split | None] = {None} if None in given else {"train"}
        shares, made = (ALL_FROM_ONE, SPLITS) if None in given else (VAL_FROM_TRAIN, SPLITS[1:2])
        if fold is not None:
            source, made = {None, "train", "val"}, SPLITS[:2]
            pooled = ", cut from train and val together" if "val" in given else ""
            notes = (*notes, f"fold {fold.number} of {fold.of}, counted from 0{pooled}")
        chosen = [index for index, split in enumerate(given) if split in source]
        together = [[key[index] for index in chosen] for key in (*keys, [row.group for row in listing.rows])]
        names = [name for name in join_groups(*together) if name is not None]
        cut = names, [labels[index] for index in chosen], listing.class_names
        pieces = stratified_group_split(*cut, shares, seed) if fold is None else fold_split(*cut, fold, seed)
        verify_split(pieces, *together)
        for index, split in zip(chosen, pieces, strict=True):
            given[index] = split
        if whole_groups := {listing.rows[index].group for index in chosen} - {None}:
            notes = (*notes, f"{len(whole_groups):,} groups kept whole")
    return Manifest(
        layout=listing.layout,
        root=listing.root,
        class_names=listing.class_names,
        names=tuple(row.name for row in listing.rows),
        labels=tuple(labels),
        splits=tuple(split for split in given if split),
        read=listing.source,
        cut=made,
        groups=groups,
        notes=notes,
        unread=listing.unread,
        votes=vote_table(listing),
        unknown=listing.unknown,
        columns=columns_of(listing),
    )


def read_manifest(root: Path, seed: int = 42, **options: Any) -> Manifest:
    """Read the data set at ``root`` and cut missing splits so that identical files stay together.

    Args:
        root: As :func:`read` takes it.
        seed: Of the cut.
        options: Further arguments of :func:`read`.
    """
    listing = read(root, **options)
    if not listing.lacks_splits:
        return complete_splits(listing, seed)
    return complete_splits(listing, seed, [listing.source.digest(index) for index in range(len(listing.rows))])


def _refuse_outside(listing: SampleList, folders: Sequence[Path]) -> None:
    """Refuse images that a table names in none of ``folders``; where links lead is another question."""
    if not isinstance(listing.source, Files):
        return
    bases = [os.path.join(os.path.abspath(folder), "") for folder in folders]
    outside = [
        row.name
        for row in listing.rows
        if (".." in row.name or os.path.isabs(row.name))
        and not os.path.abspath(listing.root / row.name).startswith(tuple(bases))
    ]
    if outside:
        raise DataError(
            f"{len(outside):,} images are outside of {listing.root}, such as {outside[0]}: if you trust the table that "
            "names them, give `allow_outside=true`"
        )


def _unread(root: Path, read_files: Mapping[str, str], splits_file: Path | None) -> tuple[str, ...]:
    found = unread_files(root, read_files)
    # with a splits file no table of the data is read
    return found if splits_file is None else tuple(name for name in found if not is_table(name))


def _strange_classes(class_names: Sequence[str], merged: Collection[str]) -> list[str]:
    """Say which classes are no emotions, so that a folder of something else does not become one in silence."""
    strange = [name for name in class_names if name not in merged and not is_emotion(name)]
    if not strange:
        return []
    if len(strange) == len(class_names):
        return ["none of the classes is an emotion that is known by name (WARNING): see that these are the classes"]
    verb, them = ("is", "it") if len(strange) == 1 else ("are", "them")
    names = json.dumps(strange, ensure_ascii=False)  # quoted, or "0" would be a number and "no" false
    return [
        f"{', '.join(strange)} {verb} no emotion that is known by name (WARNING); `drop_classes={names}` leaves "
        f"{them} out"
    ]


def _check_classes(listing: SampleList) -> None:
    """Refuse splits without images, and classes that training would never see."""
    given = Counter(row.split for row in listing.rows)
    if None not in given and not given["train"]:
        there = ", ".join(sorted(filter(None, given)))
        raise DataError(
            f"{listing.root} has {there} but no folder 'train', or table or rows of it: add one, or measure a trained "
            "model on it: test --ckpt_path best.ckpt"
        )
    if len(listing.class_names) < 2:
        raise DataError(f"{listing.root} has one class only ({listing.class_names[0]}): add images of another")
    known = {canonical_name(name): name for name in listing.class_names}
    learnt = {canonical_name(row.emotion) for row in listing.rows if row.split in (None, "train")}
    for row in listing.rows:
        if canonical_name(row.emotion) not in known:
            raise DataError(
                f"class {row.emotion!r} is in {row.split} but not in train (first: {row.name} in {listing.root}): "
                "add training images of it or remove it"
            )
    if absent := [name for key, name in known.items() if key not in learnt]:
        raise DataError(f"class {absent[0]!r} has no training images in {listing.root}: add some")


def _reorder(listing: SampleList, class_names: Sequence[str]) -> tuple[str, ...]:
    """Put the data's spelling of the classes in the order of ``class_names``."""
    wanted, found = class_ids(class_names), {canonical_name(name): name for name in listing.class_names}
    if wanted.keys() != found.keys():
        missing = [name for name in class_names if canonical_name(name) not in found]
        extra = [name for key, name in found.items() if key not in wanted]
        raise DataError(
            f"the checkpoint has classes {', '.join(class_names)}; {listing.root} has {', '.join(found.values())} "
            f"(missing: {', '.join(missing) or 'none'}; extra: {', '.join(extra) or 'none'})"
        )
    return tuple(found[key] for key in wanted)


def _shared(listing: SampleList, class_names: Sequence[str]) -> SampleList:
    """Keep the images of the classes that a model knows, which are in its order; those that the data lacks stay.

    Raises:
        DataError: There is none.
    """
    found, wanted = {canonical_name(row.emotion): row.emotion for row in listing.rows}, class_ids(class_names)
    places = [place for place, row in enumerate(listing.rows) if canonical_name(row.emotion) in wanted]
    if not places:
        raise DataError(
            f"the model knows the classes {', '.join(class_names)}; {listing.root} has {', '.join(found.values())}, "
            f"none of which is among them: rename its classes, or say which is which by `merge_classes={{"
            f"{class_names[0]}: [NAME]}}`, in which NAME is the data's own"
        )
    spelled = tuple(found.get(canonical_name(name), name) for name in class_names)
    unknown = Counter(found[key] for row in listing.rows if (key := canonical_name(row.emotion)) not in wanted)
    smaller = listing.keep(places) if unknown else listing
    return replace(smaller, class_names=spelled, unknown=dict(unknown))


def write_splits(manifest: Manifest, file: Path) -> None:
    """Write the split of every image as a CSV file filepath,label,split and, where there are any, group.

    Labels are those before corrections, which can so be applied again. The file is written whole or not at all.

    Raises:
        DataError: The file cannot be written.
    """
    with atomic_csv(file) as stream:
        writer = csv.writer(stream)  # with its line ends, or a lone "\r" in a name would not be quoted
        labels = (manifest.class_names[label] for label in manifest.given or manifest.labels)
        rows = zip(manifest.names, labels, manifest.splits, strict=True)
        if manifest.groups is None:
            writer.writerows([("filepath", "label", "split"), *rows])
        else:
            grouped = ((*row, group or "") for row, group in zip(rows, manifest.groups, strict=True))
            writer.writerows([("filepath", "label", "split", "group"), *grouped])
