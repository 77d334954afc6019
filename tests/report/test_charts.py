import json
import re
from pathlib import Path

import torch

from emotion_lightning.evaluation.outputs import EvalOutputs
from emotion_lightning.report import charts

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
        texts = [text for *_, text in points if text.startswith(f"epoch {int(epoch) + 1}\n")]
        assert len(texts) == 2  # of both lines
        assert all(f"validation {value:.4g}" in text for text in texts)
    assert all(0 < x < width and 0 < y < height for x, y, _ in points)
    assert points[0][0] < points[2][0] < points[4][0]  # from left to right
    best, worst = (pick(points[1::2], key=lambda point: float(point[2].split()[-1])) for pick in (max, min))
    assert best[1] <= worst[1]  # a page counts from its top
    assert re.search(r"<title>\w+ taken for \w+\n", page)  # of a cell of a confusion matrix


def test_rates_of_stages_that_do_not_train_are_not_drawn(reported: Path) -> None:
    page = (reported / "report/index.html").read_text()
    [chart] = [svg for svg in re.findall("<svg.*?</svg>", page, re.DOTALL) if 'label="learning rate by stage"' in svg]
    texts = dict(re.findall(r"<title>epoch (\d)\n(.*?)</title>", chart, re.DOTALL))
    assert [len(texts[epoch].splitlines()) for epoch in "123"] == [1, 2, 6]  # classifier, and layer4, and all


def test_a_scale_shows_what_matters() -> None:
    far = charts.training_curve("loss", {"train": {0: 900.0, 1: 2.0, 2: 1.5, 3: 1.0}}, {})
    assert far.axes.get_ylim()[1] < 20
    rates = charts.training_curve("rate", {"stem": {0: 1e-3, 1: 5e-4, 2: 1e-9}}, {}, log=True)
    assert rates.axes.get_ylim()[0] > 1e-7


def test_precision_of_few_images_falls_with_recall() -> None:
    labels = torch.randint(0, 3, (90,), generator=torch.Generator().manual_seed(0))
    logits = torch.randn(90, 3, generator=torch.Generator().manual_seed(1)).double()
    chart = charts.precision_recall(EvalOutputs(logits, labels, torch.arange(90)), ["a", "b", "c"])
    lines = [line for line in chart.axes.get_lines() if line.get_linestyle() == "-"]
    assert len(lines) == 3
    assert all((torch.tensor(line.get_ydata()).diff() <= 0).all() for line in lines)
