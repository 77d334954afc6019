import json
import re
from pathlib import Path

CHARTS = ("confusion", "confusion_normalized", "classes", "roc", "precision_recall", "reliability", "risk_coverage")


def test_what_stands_at_an_axis_can_be_read(reported: Path) -> None:
    page = (reported / "report" / "index.html").read_text(encoding="utf-8")
    assert "learning rate by stage" in page
    assert "math" not in page  # as matplotlib names powers of ten


def test_hovering_shows_the_value_at_its_place(reported: Path) -> None:
    page = (reported / "report/index.html").read_text()
    history = json.loads((reported / "report/report.json").read_text())["history"]
    [chart] = [svg for svg in re.findall("<svg.*?</svg>", page, re.DOTALL) if 'aria-label="accuracy"' in svg]
    width, height = (float(size) for size in re.findall(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', chart)[0])
    marker = r'<use [^>]* x="([\d.]+)" y="([\d.]+)"[^>]* class="tip"><title>(.*?)</title>'
    points = [(float(x), float(y), text) for x, y, text in re.findall(marker, chart, re.DOTALL)]
    for epoch, value in history["val/accuracy"].items():
        texts = [text for *_, text in points if text.startswith(f"epoch {epoch}\n")]
        assert len(texts) == 2  # of both lines
        assert all(f"validation {value:.4g}" in text for text in texts)
    assert all(0 < x < width and 0 < y < height for x, y, _ in points)
    assert points[0][0] < points[2][0] < points[4][0]  # from left to right
    best, worst = (pick(points[1::2], key=lambda point: float(point[2].split()[-1])) for pick in (max, min))
    assert best[1] <= worst[1]  # a page counts from its top
    assert re.search(r"<title>\w+ taken for \w+\n", page)  # of a cell of a confusion matrix
