"""An audit as one HTML page without any network: what was found, image beside image, the worst first."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from emotion_lightning.data.audit.findings import Audit
from emotion_lightning.data.audit.summary import summary
from emotion_lightning.data.images.data_uri import data_uri
from emotion_lightning.data.images.decode import UnreadableImage
from emotion_lightning.data.sources.manifest import SPLITS
from emotion_lightning.report.page import environment

SHOWN = 100
"""Most pairs or groups of one section that are pictured; its list has all."""

WIDE = 6
"""Most images of one group that are shown."""

SIDE = 96
"""Largest side in pixels of an image on the page."""


class Face(NamedTuple):
    """An image on the page; ``picture`` is a data URI, empty where the image is unreadable."""

    name: str
    label: str
    split: str
    picture: str


class Figure(NamedTuple):
    """Images side by side."""

    faces: list[Face]
    caption: str


class Section(NamedTuple):
    """One kind of finding: what to do, all of them as lines of paths with tabs between, and the first as figures."""

    title: str
    action: str
    lines: Sequence[str]
    figures: Sequence[Figure] = ()


def page(audit: Audit) -> str:
    """Write the page."""
    sections = [section for section in (*_pictured(audit), *_listed(audit)) if section.lines]
    balance = {split: audit.manifest.counts(split) for split in SPLITS if audit.manifest.indices(split)}
    root = audit.manifest.root
    return (
        environment()
        .get_template("audit.html")
        .render(
            audit=audit,
            name="the data" if root is None else root.resolve().name,
            summary=summary(audit),
            balance=balance,
            sections=sections,
            shown=SHOWN,
        )
    )


LEAKS = (
    "`data.leaks drop` leaves out the copy in the earlier split, never a test image; `data.leaks error` stops a run."
)
CONFLICTS = "Correct the labels, or leave the images out of training by `data.conflicts drop`."
NEAR_CONFLICTS = "Look at both, and correct the label that is wrong or delete that image. No option does this."
REPEATED = "In training they do little harm; in a test each counts again. Delete all but one if that matters."
UNREADABLE = "Replace the files, or leave them out by `data.unreadable skip`."
GROUPS = "Name the splits so that a group is whole in one, or use `data.leaks drop`."
ANIMATED = "Save other frames as images of their own if they matter."
UNREAD = "Convert those that are meant to be images, such as to PNG; others do no harm."


def _pictured(audit: Audit) -> Iterable[Section]:
    names, splits = audit.manifest.names, audit.manifest.splits
    for (first, second), leaks in audit.leaks.items():
        figures = [
            _figure(audit, (leak.image, leak.copy), _nature(leak.kind, leak.similarity)) for leak in leaks[:SHOWN]
        ]
        lines = [f"{names[leak.image]}\t{names[leak.copy]}" for leak in leaks]
        yield Section(f"{second.capitalize()} images with a copy in {first}", LEAKS, lines, figures)
    yield _groups(audit, "Identical images with different labels", CONFLICTS, audit.conflicts)
    for title, action, pairs in (
        ("Near copies with different labels", NEAR_CONFLICTS, audit.near_conflicts),
        (
            "Near copies within a split",
            REPEATED,
            [pair for pair in audit.near if splits[pair.first] == splits[pair.second]],
        ),
    ):
        figures = [_figure(audit, pair[:2], _nature(pair.kind, pair.similarity)) for pair in pairs[:SHOWN]]
        yield Section(title, action, [f"{names[pair.first]}\t{names[pair.second]}" for pair in pairs], figures)
    yield _groups(audit, "Identical images", REPEATED, audit.identical)


def _groups(audit: Audit, title: str, action: str, groups: Sequence[Sequence[int]]) -> Section:
    lines = ["\t".join(audit.manifest.names[index] for index in group) for group in groups]
    return Section(title, action, lines, [_identical(audit, group) for group in groups[:SHOWN]])


def _listed(audit: Audit) -> Iterable[Section]:
    names, groups = audit.manifest.names, audit.groups_across_splits
    unreadable = [f"{names[index]}\t{reason}" for index, reason in audit.unreadable.items()]
    yield Section("Unreadable images", UNREADABLE, unreadable)
    yield Section(
        "Groups in several splits", GROUPS, [f"{name}\t{len(group)} images" for name, group in groups.items()]
    )
    yield Section("Animated images, of which the first frame is used", ANIMATED, [names[i] for i in audit.animated])
    yield Section("Files that are not read", UNREAD, audit.manifest.unread)


def _figure(audit: Audit, indices: Iterable[int], caption: str) -> Figure:
    return Figure([_face(audit, index) for index in indices], caption)


def _identical(audit: Audit, group: Sequence[int]) -> Figure:
    """Show some of a group, first one of each label."""
    labels = audit.manifest.labels
    first = {labels[index]: index for index in reversed(group)}
    ordered = sorted(group, key=lambda index: first[labels[index]] != index)
    return _figure(audit, ordered[:WIDE], f"{len(group)} identical")


def _face(audit: Audit, index: int) -> Face:
    manifest = audit.manifest
    try:
        picture = data_uri(manifest.read(index), SIDE, "PNG", compress_level=1)
    except UnreadableImage:
        picture = ""
    return Face(manifest.names[index], manifest.class_names[manifest.labels[index]], manifest.splits[index], picture)


def _nature(kind: str, similarity: float) -> str:
    return "same group" if kind == "group" else "identical" if kind == "exact" else f"{kind}, {similarity:.4f} alike"
