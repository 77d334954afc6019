"""An audit as one HTML page without any network: what was found, image beside image, the worst first."""

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape

from emotion_lightning.data.audit.findings import Audit
from emotion_lightning.data.audit.summary import summary
from emotion_lightning.data.images.decode import UnreadableImage

SHOWN = 100
"""Most pairs or groups in one section of the page; audit.json has all."""

WIDE = 6
"""Most images of one group that are shown."""

SIDE = 96
"""Largest side in pixels of an image on the page."""


def page(audit: Audit) -> str:
    """Write the page."""
    sections = [
        _section(
            f"{second} images with a copy in {first}",
            len(leaks),
            [_figure(audit, (leak.image, leak.copy), _nature(leak.kind, leak.similarity)) for leak in leaks[:SHOWN]],
        )
        for (first, second), leaks in audit.leaks.items()
    ]
    conflicts = [_identical(audit, group) for group in audit.conflicts[:SHOWN]]
    sections.append(_section("identical images with different labels", len(audit.conflicts), conflicts))
    for title, pairs in (
        ("near copies with different labels", audit.near_conflicts),
        ("near copies within a split", [p for p in audit.near if _split(audit, p.first) == _split(audit, p.second)]),
    ):
        figures = [_figure(audit, (p.first, p.second), _nature(p.kind, p.similarity)) for p in pairs[:SHOWN]]
        sections.append(_section(title, len(pairs), figures))
    identical = [_identical(audit, group) for group in audit.identical[:SHOWN]]
    sections.append(_section("identical images", len(audit.identical), identical))
    for title, entries in (
        ("unreadable images", [f"{audit.manifest.names[i]}: {reason}" for i, reason in audit.unreadable.items()]),
        ("groups in several splits", [f"{name}: {len(group)} images" for name, group in audit.crossing.items()]),
        ("animated images, of which the first frame is used", [audit.manifest.names[i] for i in audit.animated]),
        ("files of other kinds, which are not read", list(audit.others)),
    ):
        items = [f"<li>{escape(entry)}</li>" for entry in entries[:SHOWN]]
        sections.append(_section(title, len(entries), [f"<ul>{''.join(items)}</ul>"]))
    return _PAGE.format(
        title=escape(f"Audit of {audit.manifest.root}"), summary=escape(summary(audit)), sections="".join(sections)
    )


def _section(title: str, count: int, parts: Iterable[str]) -> str:
    if not count:
        return ""
    more = f" <small>the first {SHOWN} of them; audit.json has all</small>" if count > SHOWN else ""
    heading = f"{escape(title[:1].upper() + title[1:])}: {count:,}{more}"
    return f"<section><h2>{heading}</h2><div class=grid>{''.join(parts)}</div></section>"


def _figure(audit: Audit, indices: Iterable[int], caption: str) -> str:
    faces = "".join(_face(audit, index) for index in indices)
    return f"<figure><div class=faces>{faces}</div><figcaption>{escape(caption)}</figcaption></figure>"


def _identical(audit: Audit, group: Sequence[int]) -> str:
    """Show some of a group, first one of each label."""
    labels = audit.manifest.labels
    first = {labels[index]: index for index in reversed(group)}
    ordered = sorted(group, key=lambda index: first[labels[index]] != index)
    return _figure(audit, ordered[:WIDE], f"{len(group)} identical")


def _face(audit: Audit, index: int) -> str:
    manifest = audit.manifest
    name, label = escape(manifest.names[index]), escape(manifest.class_names[manifest.labels[index]])
    return (
        f'<div class=face><img src="{_picture(audit, index)}" alt="{name}" title="{name}">'
        f"<b>{label}</b><span>{manifest.splits[index]}</span><code>{escape(manifest.names[index].rpartition('/')[2])}</code></div>"
    )


def _picture(audit: Audit, index: int) -> str:
    try:
        image = audit.manifest.read(index)
    except UnreadableImage:
        return ""
    image.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _nature(kind: str, similarity: float) -> str:
    return "same group" if kind == "group" else "identical" if kind == "exact" else f"{kind}, {similarity:.4f} alike"


def _split(audit: Audit, index: int) -> str:
    return audit.manifest.splits[index]


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --line: #8884; --soft: #888; }}
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; }}
h1 {{ font-size: 1.5rem; overflow-wrap: anywhere; }}
h2 {{ font-size: 1.15rem; margin: 2rem 0 .75rem; }}
pre {{ border: 1px solid var(--line); border-radius: 6px; overflow-x: auto; padding: 1rem; font-size: 13px; }}
small, figcaption, span {{ color: var(--soft); font-weight: normal; }}
.grid {{ display: flex; flex-wrap: wrap; gap: .75rem; }}
.grid ul {{ margin: 0; overflow-wrap: anywhere; }}
figure {{ border: 1px solid var(--line); border-radius: 6px; margin: 0; padding: .6rem; }}
.faces {{ display: flex; gap: .6rem; }}
.face {{ display: flex; flex-direction: column; font-size: 12px; width: 7rem; }}
.face img {{ height: 96px; image-rendering: pixelated; object-fit: contain; width: 100%; }}
.face code {{ font-size: 10px; overflow-wrap: anywhere; }}
figcaption {{ font-size: 12px; margin-top: .3rem; }}
</style></head>
<body><h1>{title}</h1><pre>{summary}</pre>{sections}</body></html>
"""
