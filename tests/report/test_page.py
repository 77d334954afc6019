import csv
import json
import re
import shutil
from html.parser import HTMLParser
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from PIL import Image

from emotion_lightning.cli import main
from emotion_lightning.errors import UsageError
from emotion_lightning.evaluation.intervals import share_interval
from emotion_lightning.evaluation.metrics import calibration_metrics, compute_metrics, selective_metrics
from emotion_lightning.evaluation.outputs import EvalOutputs
from emotion_lightning.evaluation.selective import Threshold
from emotion_lightning.report.baseline import Baseline
from emotion_lightning.report.page import write_report
from emotion_lightning.report.results import read_results, write_faces, write_metrics, write_predictions
from tests.helpers import QUIET, fails

CHARTS = ("confusion", "confusion_normalized", "classes", "roc", "precision_recall", "reliability", "risk_coverage")


class Page(HTMLParser):
    """What a browser would fetch, and how often each element occurs."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.fetched += [str(value) for name, value in attrs if name in ("src", "href", "xlink:href", "action")]


def write_test(run: Path, outputs: EvalOutputs, classes: list[str], names: list[str], text: str) -> None:
    """Write the results of a test, which say ``text`` wherever a text may stand."""
    folder = run / "report/test"
    about = {"split": "test", "data": text, "bias_warnings": [text], "leaked": 0, "leak_free": None, "tta": "none"}
    calibration = calibration_metrics(outputs, 1.5) | {"fitted_with_tta": "none"}
    about |= {"seed": 1, "calibration": calibration, "checkpoint": text, "versions": {}}
    write_metrics(folder, about | compute_metrics(outputs, classes))
    write_predictions(folder, outputs, names, classes, None)


def test_the_page_needs_nothing_beside_it(reported: Path) -> None:
    text = (reported / "report/index.html").read_text()
    page = Page(text)
    linked = {target for target in page.fetched if not target.startswith(("#", "data:image/"))}
    assert linked == {"../audit.html"}  # which lies in the run's folder
    assert (reported / "audit.html").is_file()
    assert 'loading="lazy"' not in text  # of embedded images, which print would leave out
    assert "@import" not in text
    assert "url(#" in text  # clip paths, which are its own
    assert not re.findall(r"url\([^#]", text)
    assert "link" not in page.tags
    assert """content="default-src 'none'; img-src data:; """ in text  # nor what a run's files may name
    assert "script" not in page.tags


def test_pictures_and_metrics_lie_beside_it(reported: Path) -> None:
    for split in ("val", "test"):
        for name in CHARTS:
            assert min(Image.open(reported / f"report/{split}_{name}.png").size) > 500
    summary = json.loads((reported / "report/report.json").read_text())
    metrics = json.loads((reported / "report/test/metrics.json").read_text())
    assert {name: summary["results"]["test"][name] for name in metrics} == metrics
    assert summary["baseline"]["accuracy"] == 0.25  # that of the fit, though the test was not told
    assert summary["history"]["val/accuracy"].keys() == {"0", "1", "2"}
    scores = summary["history"]["val/f1_macro"]
    assert scores[str(summary["best_epoch"])] == max(scores.values())
    assert [start["epoch"] for start in summary["starts"]] == [0]
    assert summary["starts"][0]["versions"]["torch"] == version("torch")


def test_the_metrics_stand_on_the_page(reported: Path) -> None:
    text = (reported / "report/index.html").read_text()
    metrics = json.loads((reported / "report/test/metrics.json").read_text())
    low, high = metrics["intervals"]["f1_macro"]
    for value in (metrics["accuracy"], metrics["f1_macro"], metrics["loss"], low, high, metrics["calibration"]["ece"]):
        assert f"{value:.4f}" in text
    assert "train, mixed" in text
    assert "+ layer4" in text  # phases are marked
    assert "baseline 0.25" in text
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text


def test_the_first_screen_says_in_words_how_good_the_model_is(reported: Path) -> None:
    text = (reported / "report/index.html").read_text()
    summary = json.loads((reported / "report/report.json").read_text())
    accuracy, best = summary["results"]["test"]["accuracy"], summary["best_epoch"]
    [said] = re.findall("<h1>(.*?)</h1>", text)
    assert said.startswith(f"Accuracy {accuracy:.2f} on 3 classes, chance 0.33")
    assert said.endswith(f"; best at epoch {best + 1} of 3")
    assert f"<title>{reported.resolve().name}</title>" in text
    top = text[: text.index('id="summary"')]
    assert all(label in top for label in ('aria-label="macro F1"', 'aria-label="confusion, share of each true class"'))
    rows = summary["results"]["test"]["per_class"]
    worst = min(rows, key=lambda name: rows[name]["f1"])
    assert f"<p>{worst}, F1 {rows[worst]['f1']:.2f}: " in top


def test_advice_stands_on_the_first_screen(reported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = "Try `model.lr_backbone=1e-05` or `unfreeze.schedule={0: all}` <now>."
    monkeypatch.setattr("emotion_lightning.report.headline.advice", lambda run, metrics: [said])
    text = write_report(reported, Baseline(accuracy=0.25)).read_text()
    schedule = "<code>--unfreeze.schedule=&#39;{0: all}&#39;</code>"
    shown = f"<p>Try <code>--model.lr_backbone=1e-05</code> or {schedule} &lt;now&gt;.</p>"
    assert shown in text[: text.index('id="summary"')]


def test_classes_have_intervals(reported: Path) -> None:
    text = (reported / "report/index.html").read_text()
    confusion = read_results(reported / "report/test").outputs.confusion
    hits, images = int(confusion[0, 0]), int(confusion[0].sum())
    low, high = share_interval(hits, images)
    assert f"<small>{low:.2f} to {high:.2f}</small>" in text


def test_bias_warnings_come_first(reported: Path, tmp_path: Path) -> None:
    run = shutil.copytree(reported, tmp_path / "run")
    shutil.rmtree(run / "report/test")
    metrics = json.loads((run / "report/val/metrics.json").read_text())
    metrics["bias_warnings"] = ["The checkpoint was selected on the test set: all of it."]
    write_metrics(run / "report/val", metrics)
    text = write_report(run, Baseline()).read_text()
    first = re.search(r"<body>\s*<p class=\"warning\">(.*?)</p>", text)
    assert first is not None
    assert first[1] == "Validation split: The checkpoint was selected on the test set: all of it."


def test_names_are_text_and_never_markup(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>"
    classes = [evil, 'b"&']
    outputs = EvalOutputs(
        torch.tensor([[2.0, 0.0], [0.0, 1.0], [1.0, 0.0]]).double(), torch.tensor([0, 1, 1]), torch.arange(3)
    )
    write_test(tmp_path / "run", outputs, classes, [evil, "x", "y"], evil)
    face = {"gallery": "mistakes", "filepath": evil, "label": 1, "predicted": 0, "probability": 0.7, "loss": 1.3}
    write_faces(tmp_path / "run/report/test", [face | {"picture": "data:image/jpeg;base64,", "heat": None}])
    page = Page(write_report(tmp_path / "run", Baseline(0.5, 0.5)).read_text())
    assert "script" not in page.tags


def test_the_command_writes_the_report_anew(reported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "moved"
    shutil.copytree(reported, run)  # neither data nor checkpoint is needed
    shutil.rmtree(run / "checkpoints")
    before = (run / "report/index.html").read_text()
    (run / "report/index.html").unlink()
    main(["report", str(run)])
    assert (run / "report/index.html").read_text().count("data:image/jpeg") == before.count("data:image/jpeg") > 20
    main(["report", str(run), "--report.baseline_f1", "0.99"])
    assert "yes, worse" in (run / "report/index.html").read_text()
    capsys.readouterr()
    assert "nowhere: no such run" in fails(capsys, 2, "report", "nowhere")
    (tmp_path / "empty").mkdir()
    assert "several are compared" in fails(capsys, 2, "report", str(run), str(reported), "--report.baseline_f1", "0.5")
    assert "nothing was measured" in fails(capsys, 1, "report", "empty")
    file = run / "report/val/metrics.json"
    file.write_text(file.read_text().replace('"calibration"', '"earlier"'))
    assert "of another version, without calibration" in fails(capsys, 1, "report", str(run))
    file.write_text("{")
    assert "val: metrics.json or predictions.csv is damaged" in fails(capsys, 1, "report", str(run))


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (("--report.baseline_accuracy", "81.58"), "--report.baseline_accuracy 81.58 is not in [0, 1], such as 0.8158"),
        (("--report.baseline_predictions", "none.csv"), "--report.baseline_predictions none.csv: no such file"),
    ],
)
def test_a_wrong_baseline_is_refused(
    reported: Path, option: tuple[str, str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in fails(capsys, 2, "report", str(reported), *option)


def test_predictions_of_one_split_are_compared_with_that_split(reported: Path, tmp_path: Path) -> None:
    run = shutil.copytree(reported, tmp_path / "run")
    predictions = str(reported / "report/test/predictions.csv")
    main(["report", str(run), "--report.baseline_predictions", predictions])
    text = (run / "report/index.html").read_text()
    assert "Against the baseline, test split" in text
    assert "Against the baseline, validation split" not in text
    assert "No comparison" not in text
    shutil.rmtree(run / "report/test")
    main(["report", str(run), "--report.baseline_predictions", predictions])  # as when a fit has just ended
    assert "No comparison with the baseline" in (run / "report/index.html").read_text()


def test_another_run_is_the_baseline_of_each_split_that_it_was_measured_on(
    reported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, other = shutil.copytree(reported, tmp_path / "run"), shutil.copytree(reported, tmp_path / "other")
    main(["report", str(run), "--report.baseline_run", str(other)])
    results = json.loads((run / "report/report.json").read_text())["results"]
    for split in ("val", "test"):
        assert [row["difference"] for row in results[split]["against_baseline"]] == [0, 0]
    shutil.rmtree(other / "report/val")
    shutil.rmtree(other / "report/test")
    main(["report", str(run), "--report.baseline_run", str(other)])
    said = "run other was not measured on val: validate or test it"
    assert said in (run / "report/index.html").read_text()
    both = ("--report.baseline_run", str(other), "--report.baseline_predictions", "none.csv")
    assert "are two baselines: give one" in fails(capsys, 2, "report", str(run), *both)
    assert "nobody: no such run" in fails(capsys, 2, "report", str(run), "--report.baseline_run", "nobody")


def test_results_of_different_models_are_told_apart(reported: Path, tmp_path: Path) -> None:
    run = shutil.copytree(reported, tmp_path / "run")
    told = "The splits were measured with different checkpoints"
    assert told not in write_report(run, Baseline()).read_text()
    main(["test", "--ckpt_path", str(run / "checkpoints/best.ckpt"), "--model.tta", "flip", *QUIET])
    assert not (run / "report/test/faces.json").exists()  # those were of the other model
    assert told in write_report(run, Baseline()).read_text()


def test_the_curve_of_risk_has_its_figures_and_the_threshold(tmp_path: Path) -> None:
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0], [1.0, 0.0]]).double()
    outputs = EvalOutputs(logits, torch.tensor([0, 1, 1]), torch.arange(3))
    write_test(tmp_path / "run", outputs, ["a", "b"], ["x", "y", "z"], "x")
    folder = tmp_path / "run/report/test"
    before = write_report(tmp_path / "run", Baseline()).read_text()  # metrics of a version that had no such figures
    assert 'aria-label="risk over coverage, surest answers first"' in before
    assert "Risk over coverage:" not in before
    metrics = json.loads((folder / "metrics.json").read_text())
    write_metrics(folder, metrics | {"selective": selective_metrics(outputs, 1.5, None)})
    without = write_report(tmp_path / "run", Baseline()).read_text()
    assert "Risk over coverage:" in without
    assert "uncertain" not in without
    found = selective_metrics(outputs, 1.5, Threshold(0.7, 0.9, 0.5))
    write_metrics(folder, metrics | {"selective": found})
    text = write_report(tmp_path / "run", Baseline()).read_text()
    low, high = found["intervals"]["precision"]
    assert found["answers"] == 1
    assert f"{found['aurc']:.4f} of the answers are wrong in the mean" in text
    assert f"in a random order {found['aurc_random']:.4f}, with all errors last {found['aurc_oracle']:.4f}" in text
    assert "Below a probability of 0.7000 the answer is uncertain. The others, to 1 of 3 images" in text
    assert f"(a share of 0.3333), are right to 1.0000 (95 % interval by Wilson: {low:.4f} to {high:.4f})" in text
    assert "uncertain below 0.70\ncoverage 0.333\nrisk 0.000" in text  # where it is marked


def test_the_threshold_is_judged_by_images_that_it_may_be_judged_by(tmp_path: Path) -> None:
    logits = torch.tensor([[2.0, 0.0], [0.0, 2.0], [1.0, 0.0], [2.0, 0.0]]).double()
    outputs = EvalOutputs(logits, torch.tensor([0, 0, 1, 0]), torch.arange(4))
    unseen = outputs.where(torch.arange(4) > 0)
    write_test(tmp_path / "run", outputs, ["a", "b"], ["w", "x", "y", "z"], "x")
    folder = tmp_path / "run/report/test"
    metrics = json.loads((folder / "metrics.json").read_text())

    def page(probability: float, **more: object) -> str:
        threshold = Threshold(probability, 0.9, 0.5)
        free = compute_metrics(unseen, ["a", "b"]) | {"selective": selective_metrics(unseen, 1.0, threshold)}
        measured = {"leaked": 1, "leak_free": free, "selective": selective_metrics(outputs, 1.0, threshold)}
        write_metrics(folder, metrics | measured | more)
        return write_report(tmp_path / "run", Baseline()).read_text()

    text = page(0.8)
    assert (
        "the answer is uncertain. The others, to 2 of 3 images never seen (a share of 0.6667), are right to 0.50"
        in text
    )
    assert "chosen on this split" not in text
    text = page(0.8, split="val", other_data=False)
    assert (
        "of 0.8000, chosen on this split, the answer is uncertain. The others, to 2 of 3 images not trained on" in text
    )
    assert "chosen on this split" not in page(0.8, split="val", other_data=True)
    assert "the answer is uncertain. The others, to 3 of 4 images (a share" in page(0.8, leaked=0)
    assert "the answer is uncertain. So it is for all 3 images never seen." in page(0.99)


def test_what_is_no_number_spoils_no_page(tmp_path: Path) -> None:
    logits = torch.tensor([[2.0, 0.0], [float("nan"), 1.0], [1.0, 0.0]]).double()
    outputs = EvalOutputs(logits, torch.tensor([0, 1, 1]), torch.arange(3))
    write_test(tmp_path / "run", outputs, ["$x_$", "_b"], ["a", "b", "c"], "x")
    text = write_report(tmp_path / "run", Baseline(0.5, 0.5)).read_text()
    assert "$x_$" in text
    with (tmp_path / "run/report/test/predictions.csv").open() as file:
        assert [row["predicted"] for row in csv.DictReader(file)] == ["$x_$", "", "$x_$"]


def test_a_backbone_without_heat_maps_has_a_report_all_the_same(
    reported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object) -> torch.Tensor:
        raise UsageError("no stage to look at")

    monkeypatch.setattr("emotion_lightning.callbacks.report.gradcam_overlay", refuse)
    run = shutil.copytree(reported, tmp_path / "run")
    main(["test", "--ckpt_path", str(run / "checkpoints/best.ckpt"), *QUIET, "--report.write", "true"])
    assert (run / "report/index.html").stat().st_mtime > (reported / "report/index.html").stat().st_mtime
