"""An audit in words for the terminal, and in full for programs, as audit.json."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from emotion_lightning.data.audit.findings import Audit, Leak
from emotion_lightning.data.audit.scan import Scan
from emotion_lightning.data.sources.folder import unread_message
from emotion_lightning.data.sources.manifest import SPLITS


def summary(audit: Audit) -> str:
    """Say what an audit has found, the worst first, and how the classes are spread over the splits."""
    manifest = audit.manifest
    found = [
        (f"{second} images with a copy in {first}", _leaks(leaks, len(manifest.indices(second))))
        for (first, second), leaks in audit.leaks.items()
    ]
    found += [
        ("identical images with different labels", _groups(audit.conflicts)),
        ("near copies with different labels", _count(audit.near_conflicts, "pair")),
        ("unreadable images", _count(audit.unreadable)),
        ("identical images", _groups(audit.identical)),
        ("near copies", _count(audit.near, "pair")),
        ("groups in several splits", _count(audit.groups_across_splits)),
        ("animated images, of which the first frame is used", _count(audit.animated)),
    ]
    rows = [f"  {title:<52}{text}" for title, text in found if text]
    found_or_not = [*(rows or ["  nothing found"]), *([f"  {unread_message(manifest.unread)}"] * bool(manifest.unread))]
    return "\n".join([f"Audit: {manifest.describe()}", *found_or_not, "", *_balance(audit), _sizes(audit)])


def counts(audit: Audit) -> dict[str, Any]:
    """Count the findings of an audit, for every measurement on its data."""
    return {
        "unreadable": len(audit.unreadable),
        "conflicts": {"groups": len(audit.conflicts), "images": sum(map(len, audit.conflicts))},
        "leaks": {
            f"{first}-{second}": {"images": len(leaks), "of": len(audit.manifest.indices(second)), **_kinds(leaks)}
            for (first, second), leaks in audit.leaks.items()
        },
    }


def everything(audit: Audit) -> dict[str, Any]:
    """Every finding with the paths of its images, in plain types."""
    manifest, scan = audit.manifest, audit.scan

    def image(index: int) -> dict[str, str]:
        return {
            "path": manifest.names[index],
            "label": manifest.class_names[manifest.labels[index]],
            "split": manifest.splits[index],
        }

    return {
        "root": str(manifest.root),
        "layout": manifest.describe(),
        "images": len(manifest),
        **counts(audit),
        "balance": {split: manifest.counts(split) for split in SPLITS if manifest.indices(split)},
        "sizes": audit.sizes,
        "aspect_ratios": _aspect_ratios(scan),
        "modes": _modes(scan),
        "formats": _tally(filter(None, scan.formats)),
        "leaking": [
            {"image": image(leak.image), "copy": image(leak.copy), "kind": leak.kind, "similarity": leak.similarity}
            for leaks in audit.leaks.values()
            for leak in leaks
        ],
        "conflicting": [[image(index) for index in group] for group in audit.conflicts],
        "identical": [[image(index) for index in group] for group in audit.identical],
        "near": [
            {"first": image(pair.first), "second": image(pair.second), "kind": pair.kind, "similarity": pair.similarity}
            for pair in audit.near
        ],
        "groups_across_splits": {
            name: [image(index) for index in group] for name, group in audit.groups_across_splits.items()
        },
        "unreadable_images": [image(index) | {"reason": reason} for index, reason in audit.unreadable.items()],
        "animated": [image(index) for index in audit.animated],
        "other_files": list(manifest.unread),
    }


def _leaks(leaks: Sequence[Leak], total: int) -> str:
    kinds = ", ".join(f"{n:,} {kind}" for kind, n in _kinds(leaks).items())
    return f"{len(leaks):,} of {total:,} ({kinds})"


def _kinds(leaks: Iterable[Leak]) -> dict[str, int]:
    return _tally(leak.kind for leak in leaks)


def _groups(groups: Sequence[Sequence[int]]) -> str:
    return f"{sum(map(len, groups)):,} in {_count(groups, 'group')}" if groups else ""


def _count(found: Any, name: str = "") -> str:
    n = len(found)
    return f"{n:,} {name}{'s' * (n > 1)}".rstrip(" ") if name and n else f"{n:,}" * bool(n)


def _tally(values: Iterable[str]) -> dict[str, int]:
    return dict(Counter(values).most_common())


def _modes(scan: Scan) -> dict[str, int]:
    return _tally(filter(None, scan.modes))


def _aspect_ratios(scan: Scan) -> dict[str, float]:
    """Least, median and greatest width over height of the readable images; nothing without any."""
    readable = scan.heights > 0
    values = scan.widths[readable] / scan.heights[readable]
    if not len(values):
        return {}
    return {"least": float(values.min()), "median": float(np.median(values)), "most": float(values.max())}


def _balance(audit: Audit) -> list[str]:
    """One row per class: its images in each split, and its share of the first."""
    counts = {split: audit.manifest.counts(split) for split in SPLITS if audit.manifest.indices(split)}
    names = audit.manifest.class_names
    width = max(len("class"), *map(len, names)) + 2
    first = next(iter(counts.values()))
    total = sum(first.values()) or 1
    header = "  " + "class".ljust(width) + "".join(f"{split:>10}" for split in counts) + f"{'share':>9}"
    return [header] + [
        "  "
        + name.ljust(width)
        + "".join(f"{counts[split][name]:>10,}" for split in counts)
        + f"{first[name] / total:>8.1%}"
        for name in names
    ]


def _sizes(audit: Audit) -> str:
    sizes = list(audit.sizes.items())
    shown = ", ".join(f"{size} ({n:,})" for size, n in sizes[:3])
    more = f" and {len(sizes) - 3:,} more sizes" if len(sizes) > 3 else ""
    modes = ", ".join(f"{mode} ({n:,})" for mode, n in _modes(audit.scan).items())
    ratios = _aspect_ratios(audit.scan)
    shape = "; width / height {least:.2f} to {most:.2f}".format(**ratios) if ratios else ""
    return f"  pixels: {shown}{more}; {modes}{shape}"
