"""Pages on which people look at doubtful labels, one face at a time, and save what they decide as a CSV file."""

import hashlib
from base64 import b64encode
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from typing import Any

import torch
from markupsafe import Markup

from emotion_lightning.data.audit.findings import Audit
from emotion_lightning.data.images.data_uri import data_uri
from emotion_lightning.data.images.decode import UnreadableImage
from emotion_lightning.data.sources.corrections import COLUMNS, Correction
from emotion_lightning.data.sources.labels import canonical_name
from emotion_lightning.errors import DataError
from emotion_lightning.evaluation.label_errors import find_doubts
from emotion_lightning.report.held_out import HeldOut
from emotion_lightning.report.page import environment

PER_PAGE = 1000
"""Images of one page."""

SIDE, COPY_SIDE, COPIES = 192, 96, 6
"""Most pixels of a face and of its copies in width and height, and most copies that are shown."""


class Doubtful:
    """Images whose labels are doubted, the most doubtful first: by the model, by copies of them, or as unreadable.

    Args:
        audit: The data.
        held_out: What models say of images that they have not seen.

    Raises:
        DataError: An image is not there any more, or has another label.
    """

    def __init__(self, audit: Audit, held_out: HeldOut):
        self.audit, self.manifest = audit, audit.manifest
        places = {name: place for place, name in enumerate(self.manifest.names)}
        labels = [self.manifest.class_names[label] for label in self.manifest.labels]
        self.places = [places.get(name, -1) for name in held_out.names]
        for name, place, label in zip(held_out.names, self.places, held_out.labels, strict=True):
            if place < 0 or canonical_name(labels[place]) != canonical_name(label):
                raise DataError(f"{name} has another label than when the runs began, or is gone; fit the folds again")
        classes = torch.tensor([self.manifest.labels[place] for place in self.places])
        self.probabilities = dict(zip(self.places, held_out.probabilities, strict=True))
        doubts = find_doubts(held_out.probabilities, classes)
        self.by_model = {self.places[row] for row in doubts.doubtful.nonzero().flatten().tolist()}
        self.copies = _copies(audit)
        contradicted = {
            place for place in self.copies if any(self._differs(place, copy) for copy in self.copies[place])
        }
        order = [self.places[row] for row in doubts.order.tolist()]
        self.order = [place for place in order if place in self.by_model or place in contradicted]
        self.order += [place for place in sorted(audit.unreadable) if self.manifest.splits[place] != "test"]

    def _differs(self, place: int, copy: int) -> bool:
        return self.manifest.labels[place] != self.manifest.labels[copy]

    def item(self, place: int) -> dict[str, Any]:
        """What the page shows of the image at ``place``, in plain types."""
        probabilities = self.probabilities.get(place)
        copies = sorted(self.copies.get(place, {}).items(), key=lambda item: not self._differs(place, item[0]))
        return {
            **self._named(place),
            "hash": self.audit.scan.digests[place],
            "given": self.manifest.class_names[(self.manifest.given or self.manifest.labels)[place]],
            "probabilities": None if probabilities is None else [round(p, 4) for p in probabilities.tolist()],
            "why": self._why(place),
            "picture": self._picture(place, SIDE),
            "copies": [
                self._named(copy) | {"kind": kind, "picture": self._picture(copy, COPY_SIDE)}
                for copy, kind in copies[:COPIES]
            ],
        }

    def _named(self, place: int) -> dict[str, Any]:
        return {"name": self.manifest.names[place], "label": self.manifest.labels[place]}

    def _why(self, place: int) -> str:
        said = []
        if place in self.audit.unreadable:
            said.append(f"unreadable: {self.audit.unreadable[place]}")
        if place in self.by_model:
            row = self.probabilities[place]
            said.append(f"the model says {self.manifest.class_names[int(row.argmax())]} {row.max():.2f}")
        if any(self._differs(place, copy) for copy in self.copies.get(place, {})):
            said.append("a copy has another label")
        return "; ".join(said)

    def _picture(self, place: int, side: int) -> str:
        try:
            return data_uri(self.manifest.read(place), side, "JPEG", quality=88)
        except UnreadableImage:
            return ""


def _copies(audit: Audit) -> dict[int, dict[int, str]]:
    """The copies of each image, each with its kind."""
    found: defaultdict[int, dict[int, str]] = defaultdict(dict)
    for pair in audit.near:
        found[pair.first][pair.second] = found[pair.second][pair.first] = pair.kind
    for group in audit.identical:
        for place in group:
            found[place] |= {other: "identical" for other in group if other != place}
    return found


def pages(doubtful: Doubtful, earlier: Sequence[Correction], per_page: int = PER_PAGE) -> Iterator[tuple[str, str]]:
    """Yield the name of each page and its text.

    Args:
        doubtful: What is shown.
        earlier: Corrections that the runs were given, which the file that is saved has, too.
        per_page: Most images of a page.
    """
    starts = range(0, max(len(doubtful.order), 1), per_page)
    names = ["index.html", *(f"{number}.html" for number in range(2, len(starts) + 1))]
    code = files(__package__).joinpath("review.js").read_text(encoding="utf-8")
    digest = b64encode(hashlib.sha256(code.encode()).digest()).decode()
    template = environment().get_template("review.html")
    manifest = doubtful.manifest
    for name, start in zip(names, starts, strict=True):
        data: Mapping[str, Any] = {
            "key": f"emotion_lightning review {manifest.as_given().fingerprint()}",
            "classes": manifest.class_names,
            "columns": COLUMNS,
            "earlier": [[row.name, row.digest, row.old, row.new, row.reason] for row in earlier],
            "first": start,
            "items": [doubtful.item(place) for place in doubtful.order[start : start + per_page]],
        }
        yield (
            name,
            template.render(
                data=data,
                code=Markup(code),
                digest=digest,
                doubtful=doubtful,
                names=names,
                own=name,
                per_page=per_page,
            ),
        )
