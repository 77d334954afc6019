import hashlib
import json
import re
import shutil
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest
import torch

from emotion_lightning.data.audit.findings import Audit
from emotion_lightning.errors import DataError
from emotion_lightning.report.held_out import HeldOut
from emotion_lightning.report.review_page import Doubtful, pages
from tests.helpers import CLASSES, Lab

EVIL = "</script><img src=x onerror=alert(1)>.png"


@pytest.fixture
def audit(lab: Lab, faces: Path, tmp_path: Path) -> Audit:
    """The faces, a copy of one with another label, and a file that is no image."""
    root = tmp_path / "faces"
    shutil.copytree(faces, root)
    shutil.copy(root / "train/angry/01.png", root / "train/happy/copy.png")
    (root / "train/happy/broken.png").write_bytes(b"no image")
    found = lab.data(root=str(root)).audit
    assert found is not None
    return found


def held_out(audit: Audit, flipped: str = "train/angry/02.png") -> HeldOut:
    """Answers of a model that is right of all training images but ``flipped``, which it takes for surprised."""
    manifest = audit.manifest
    places = [place for place in manifest.indices("train") if place not in audit.unreadable]
    names = tuple(manifest.names[place] for place in places)
    labels = torch.tensor([manifest.labels[place] for place in places])
    rows = torch.full((len(places), 3), 0.1, dtype=torch.double).scatter(1, labels[:, None], 0.8)
    rows[names.index(flipped)] = torch.tensor([0.05, 0.05, 0.9], dtype=torch.double)
    return HeldOut(names, tuple(CLASSES[label] for label in labels.tolist()), CLASSES, rows)


def data_of(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    return data


def test_the_flip_comes_first_then_copies_with_other_labels_and_what_is_unreadable(audit: Audit) -> None:
    [(name, page)] = pages(Doubtful(audit, held_out(audit)), [])
    assert name == "index.html"
    first, *others = data_of(page)["items"]
    assert first["name"] == "train/angry/02.png"
    assert (first["given"], first["probabilities"]) == ("angry", [0.05, 0.05, 0.9])
    assert first["why"] == "the model says surprised 0.90"
    assert first["hash"] == audit.scan.digests[audit.manifest.names.index(first["name"])]
    assert {item["name"] for item in others[:2]} == {"train/angry/01.png", "train/happy/copy.png"}
    assert [copy["label"] for copy in others[0]["copies"]] != [others[0]["label"]]
    assert others[0]["why"] == "a copy has another label"
    assert (others[2]["name"], others[2]["picture"]) == ("train/happy/broken.png", "")
    assert others[2]["why"].startswith("unreadable")
    assert all(item["picture"].startswith("data:image/jpeg;base64,") for item in others[:2])


def test_further_pages_have_the_rest(audit: Audit) -> None:
    found = dict(pages(Doubtful(audit, held_out(audit)), [], per_page=3))
    assert list(found) == ["index.html", "2.html"]
    assert [len(data_of(page)["items"]) for page in found.values()] == [3, 1]
    assert '<a href="2.html">4 to 4</a>' in found["index.html"]


def test_only_the_script_of_the_page_may_run_and_a_name_is_no_html(audit: Audit) -> None:
    manifest = audit.manifest
    names = tuple(EVIL if name == "train/angry/02.png" else name for name in manifest.names)
    evil = Audit(type(manifest)(**vars(manifest) | {"names": names}), audit.scan, audit.pairs)
    [(_, page)] = pages(Doubtful(evil, held_out(evil, EVIL)), [])
    assert data_of(page)["items"][0]["name"] == EVIL
    assert EVIL not in page
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    [digest] = re.findall(r"default-src 'none'; script-src 'sha256-([^']+)';", page)
    assert [hashlib.sha256(script.encode()).digest() for script in scripts] == [b64decode(digest)]
    assert "http" not in page.replace("http-equiv", "")


def test_labels_that_changed_since_the_fit_are_refused(audit: Audit) -> None:
    found = held_out(audit)
    with pytest.raises(DataError, match="has another label than when the runs began"):
        Doubtful(audit, found._replace(labels=("happy", *found.labels[1:])))
