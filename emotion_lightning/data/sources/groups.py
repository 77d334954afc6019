"""Groups of images that must stay in one split: a subject's, and an original with its augmented copies."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from posixpath import basename, dirname, splitext

from emotion_lightning.data.images.decode import Files
from emotion_lightning.data.images.region import file_name
from emotion_lightning.data.sources.layouts.listing import SampleList
from emotion_lightning.errors import UsageError

MOST_COPIES = 32
"""Most copies of one image that are believed where nothing but their names says so; more are a numbering."""

_IMAGE = r"(?:jpe?g?|jfif|png|bmp|dib|webp|tiff?)"
_AXIS = r"(?:lr|ud|h|v|horizontal(?:ly)?|vertical(?:ly)?)"
_CHANGE = (
    rf"aug(?:ment(?:ed|ation)?)?|(?:{_AXIS}[ _-]?)?flip(?:ped)?(?:[ _-]?{_AXIS})?|mirror(?:ed)?"
    r"|rot(?:ated?|ation)?|bright(?:er|ness)?|dark(?:er)?|contrast|nois[ey]|blur(?:red)?|zoom(?:ed)?|shift(?:ed)?"
    r"|shear(?:ed)?|crop(?:ped)?|scaled?|translat(?:ed?|ion)|jitter(?:ed)?|gr[ae]y(?:scale)?|copy|dup(?:licate)?"
)
_AMOUNT = r"\d{1,4}(?:\.\d+)?(?:deg)?"
_NUMBERED = re.compile(r" ?\(\d{1,3}\)$")
_MARKS = (
    re.compile(rf"[ _.-]+(?:{_CHANGE})(?:[ _+-]*{_AMOUNT})?$", re.IGNORECASE),  # x_aug3, x - Copy
    re.compile(rf"\.{_IMAGE}\d{{0,4}}$", re.IGNORECASE),  # x.jpg0
    re.compile(rf"[_.]{_IMAGE}\.rf\.[0-9a-f]{{32}}$", re.IGNORECASE),  # x_jpg.rf.HASH
    _NUMBERED,  # x (1)
    re.compile(r"^copy(?: ?\(\d{1,3}\))? of ", re.IGNORECASE),  # Copy (2) of x
    re.compile(rf"^(?:{_CHANGE})(?:[+-]?{_AMOUNT})?[ _.-]+", re.IGNORECASE),  # aug3_x
)
_AMOUNT_FIRST = re.compile(rf"^{_AMOUNT}[ _.-]+")


def original_stem(name: str) -> str:
    """Return what the file would be called, without suffix, if it were no augmented copy: "x" for "x_aug3.jpg".

    Only marks that augmentation and copying leave behind, at the end or in front, are taken off ("_flip", "_rot15",
    ".jpg0", " (1)", "aug_", "Copy of " …), never plain numbers. Whether the file is a copy is for
    :func:`augmented_copies` to say, which looks at what else is there.
    """
    return _original(splitext(basename(name))[0])


def _original(stem: str) -> str:
    while (shorter := _shorter(stem)) != stem:
        stem = shorter
    return stem


def _shorter(stem: str) -> str:
    if stem.isalnum():  # every mark is set apart by something else
        return stem
    for mark in _MARKS:
        if found := mark.search(stem):
            return stem[: found.start()] + stem[found.end() :] or stem
    return stem


def augmented_copies(names: Sequence[str], emotions: Sequence[str]) -> list[str | None]:
    """Name the family of each image that has augmented copies or is one; None for all others.

    A family has one class, and its original or at least two copies are there. Images of different folders are of one
    family only where file names tell images apart, that is where no class has a file name twice. Case does not count.

    Args:
        names: Path of each image, with forward slashes.
        emotions: Class of each image.
    """
    files = [basename(name) for name in names]
    unique = len(set(zip(files, emotions, strict=True))) == len(files)
    places = emotions if unique else [dirname(name) for name in names]
    stems = [splitext(basename(file_name(name)))[0].casefold() for name in names]
    there = set(zip(places, stems, strict=True))
    originals = list(map(_original, stems))
    for index, (place, stem, original) in enumerate(zip(places, stems, originals, strict=True)):
        if original != stem and (place, original) not in there:  # "rot_15_x" may be of "15_x" or of "x"
            bare = _AMOUNT_FIRST.sub("", original)
            originals[index] = bare if (place, bare) in there else original
    keys = zip(places, stems, originals, strict=True)
    marked = {(place, original) for place, stem, original in keys if original != stem}
    families: defaultdict[str, list[int]] = defaultdict(list)
    for index, key in enumerate(zip(places, originals, strict=True)):
        if key in marked:  # most images have no copy
            families[f"copies of {key[0]}/{key[1]}"].append(index)
    found: list[str | None] = [None] * len(files)
    for family, members in families.items():
        if _is_family(family.rpartition("/")[2], [stems[index] for index in members]):
            for index in members:
                found[index] = family
    return found


def _is_family(original: str, stems: Sequence[str]) -> bool:
    if len(stems) == 1:
        return False
    marks = [stem.removeprefix(original) for stem in stems if stem != original]
    if not marks:
        return False
    has_original = len(marks) < len(stems)
    if all(_NUMBERED.fullmatch(mark) for mark in marks):  # "download (7)" may be the seventh of as many faces
        return has_original and len(marks) <= MOST_COPIES
    return has_original or 2 <= len(marks) <= MOST_COPIES


def connected_components(count: int, edges: Iterable[tuple[int, int]]) -> list[int]:
    """Find the connected components of an undirected graph (union-find with path halving).

    Args:
        count: Number of nodes.
        edges: Pairs of nodes below ``count``.

    Returns:
        For each node the smallest node of its component.
    """
    parent = list(range(count))

    def root(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for edge in edges:
        low, high = sorted(map(root, edge))
        parent[high] = low
    return [root(node) for node in range(count)]


def join_groups(*keys: Sequence[str | None]) -> list[str | None]:
    """Join the images that share a key, directly or through others, and name each group after one of its keys.

    Args:
        keys: One or more sequences with a key or None for each image. Equal keys mean the same thing wherever they
            stand, so keys of different kinds must differ.

    Returns:
        For each image a key of its group, None for one without any key. It is the smallest of those of the earliest
        sequence that has one, so it does not depend on the order of the images.
    """
    first: dict[str, int] = {}
    found = [(image, key) for sequence in keys for image, key in enumerate(sequence) if key is not None]
    components = connected_components(len(keys[0]), [(image, first.setdefault(key, image)) for image, key in found])
    names: dict[int, tuple[int, str]] = {}
    for place, sequence in enumerate(keys):
        for component, key in zip(components, sequence, strict=True):
            if key is not None:
                names[component] = min((place, key), names.get(component, (place, key)))
    return [names[component][1] if component in names else None for component in components]


def with_groups(listing: SampleList, pattern: str | None = None) -> SampleList:
    """Give the images the groups that ``pattern`` finds in their names, of augmented copies, and of parts of one file.

    Args:
        listing: The images, some perhaps with a group already, which a pattern replaces.
        pattern: Regular expression that is searched in each name below ROOT; its group named subject, or its first,
            is what images of one group have in common.

    Raises:
        UsageError: The pattern is malformed, has no group, or matches no image.
    """
    names, notes = [row.name for row in listing.rows], listing.notes
    given = [row.group for row in listing.rows]
    if pattern is not None:
        given = _search(pattern, names)
        if without := given.count(None):
            notes = (*notes, f"{without:,} images without a group")
    families: Sequence[str | None] = [None] * len(names)
    if isinstance(listing.source, Files):
        families = augmented_copies(names, [row.emotion for row in listing.rows])
    groups = zip(listing.rows, join_groups(given, families, _parts_of_one_file(names)), strict=True)
    rows = [row if row.group == group else row._replace(group=group) for row, group in groups]
    return replace(listing, rows=rows, notes=notes)


def _parts_of_one_file(names: Sequence[str]) -> list[str | None]:
    files = list(map(file_name, names))
    parted = {file for file, name in zip(files, names, strict=True) if file != name}
    if not parted:
        return [None] * len(names)
    several = {file for file, count in Counter(files).items() if count > 1} & parted
    return [f"parts of {file}" if file in several else None for file in files]


def _search(pattern: str, names: Sequence[str]) -> list[str | None]:
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise UsageError(f"`group_regex` {pattern!r} is no regular expression: {error}") from error
    if not expression.groups:
        raise UsageError(f"`group_regex` {pattern!r} has no group: put what names the subject into parentheses")
    group: str | int = "subject" if "subject" in expression.groupindex else 1
    found = [match[group] or None if (match := expression.search(name)) else None for name in names]
    if not any(found):
        raise UsageError(f"`group_regex` {pattern!r} matches no image; the first is {names[0]}")
    return found
