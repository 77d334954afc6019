"""An audit as one HTML page without any network: what was found, image beside image, the worst first."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from emotion_lightning.data.audit.findings import Audit
from emotion_lightning.data.audit.summary import summary
from emotion_lightning.data.images.data_uri import data_uri
from emotion_lightning.data.images.decode import UnreadableImage
from emotion_lightning.report.page import environment

SHOWN = 100
"""Most pairs, groups or files in one section of the page; audit.json has all."""

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
    """One kind of finding: how many there are, and the first of them, as figures or as lines of text."""

    title: str
    total: int
    figures: Sequence[Figure] = ()
    lines: Sequence[str] = ()


def page(audit: Audit) -> str:
    """Write the page."""
    sections = [section for section in (*_pictured(audit), *_listed(audit)) if section.total]
    return (
        environment()
        .get_template("audit.html")
        .render(audit=audit, summary=summary(audit), sections=sections, shown=SHOWN)
    )


def _pictured(audit: Audit) -> Iterable[Section]:
    splits = audit.manifest.splits
    for (first, second), leaks in audit.leaks.items():
        figures = [
            _figure(audit, (leak.image, leak.copy), _nature(leak.kind, leak.similarity)) for leak in leaks[:SHOWN]
        ]
        yield Section(f"{second.capitalize()} images with a copy in {first}", len(leaks), figures)
    conflicts = [_identical(audit, group) for group in audit.conflicts[:SHOWN]]
    yield Section("Identical images with different labels", len(audit.conflicts), conflicts)
    for title, pairs in (
        ("Near copies with different labels", audit.near_conflicts),
        ("Near copies within a split", [pair for pair in audit.near if splits[pair.first] == splits[pair.second]]),
    ):
        figures = [_figure(audit, pair[:2], _nature(pair.kind, pair.similarity)) for pair in pairs[:SHOWN]]
        yield Section(title, len(pairs), figures)
    yield Section(
        "Identical images", len(audit.identical), [_identical(audit, group) for group in audit.identical[:SHOWN]]
    )


def _listed(audit: Audit) -> Iterable[Section]:
    names, groups = audit.manifest.names, audit.groups_across_splits
    for title, lines in (
        ("Unreadable images", [f"{names[index]}: {reason}" for index, reason in audit.unreadable.items()]),
        ("Groups in several splits", [f"{name}: {len(group)} images" for name, group in groups.items()]),
        ("Animated images, of which the first frame is used", [names[index] for index in audit.animated]),
        ("Files that are not read", audit.manifest.unread),
    ):
        yield Section(title, len(lines), lines=lines[:SHOWN])


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
