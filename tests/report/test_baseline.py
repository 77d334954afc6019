from pathlib import Path

import pytest
import torch

from emotion_lightning.errors import DataError, UsageError
from emotion_lightning.evaluation.metrics import compute_metrics
from emotion_lightning.evaluation.outputs import EvalOutputs
from emotion_lightning.report.baseline import Baseline
from emotion_lightning.report.results import SplitResults

CLASSES = ["happy", "sad"]
N = 200


def measured(right: int, tmp_path: Path) -> SplitResults:
    """A model that is right on the first ``right`` of 200 images."""
    labels = torch.arange(N) % 2
    predicted = torch.where(torch.arange(N) < right, labels, 1 - labels)
    outputs = EvalOutputs(torch.nn.functional.one_hot(predicted, 2).double() * 3, labels, torch.arange(N))
    names = tuple(f"test/{index}.png" for index in range(N))
    return SplitResults(tmp_path, {"split": "test"} | compute_metrics(outputs, CLASSES), names, outputs)


def said(right: int, file: Path, n: int = N) -> Path:
    """Predictions of a baseline that is right on the last ``right`` images."""
    labels = [CLASSES[index % 2] for index in range(n)]
    wrong = {"happy": "sad", "sad": "happy"}
    rows = [f"test/{i}.png,{label if i >= N - right else wrong[label]}" for i, label in enumerate(labels)]
    file.write_text("\n".join(["filepath,predicted", *rows]) + "\n")
    return file


@pytest.mark.parametrize(("figure", "significant"), [(0.5, True), (0.79, False), (0.95, True)])
def test_a_figure_is_compared_by_our_interval(figure: float, significant: bool, tmp_path: Path) -> None:
    accuracy, f1 = Baseline(figure, figure).compare(measured(160, tmp_path))
    assert accuracy["difference"] == pytest.approx(0.8 - figure)
    assert accuracy["interval"][0] < accuracy["difference"] < accuracy["interval"][1]
    assert (accuracy["significant"], f1["significant"]) == (significant, significant)
    assert len(Baseline(accuracy=0.5).compare(measured(160, tmp_path))) == 1


def test_predictions_are_compared_image_by_image(tmp_path: Path) -> None:
    from scipy.stats import binomtest

    ours = measured(160, tmp_path)  # wrong on the last 40
    accuracy, f1 = Baseline(predictions=said(175, tmp_path / "b.csv")).compare(ours)  # wrong on the first 25
    assert accuracy["baseline"] == pytest.approx(175 / 200)
    assert accuracy["p"] == pytest.approx(binomtest(25, 65).pvalue)
    assert accuracy["significant"] == (accuracy["p"] < 0.05)
    assert f1["interval"][0] < f1["difference"] < f1["interval"][1]
    (worse, _) = Baseline(predictions=said(195, tmp_path / "d.csv")).compare(ours)  # wrong on the first 5
    assert (worse["p"], worse["significant"]) == (pytest.approx(binomtest(5, 45).pvalue), True)
    (same, _) = Baseline(predictions=said(200, tmp_path / "c.csv")).compare(measured(200, tmp_path))
    assert (same["difference"], same["p"], same["significant"]) == (0, 1, False)


def test_predictions_of_other_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"lacks 10 of the images of the test split, such as test/190\.png"):
        Baseline(predictions=said(100, tmp_path / "b.csv", n=190)).compare(measured(100, tmp_path))
    (tmp_path / "c.csv").write_text("filepath,label\nx,happy\n")
    with pytest.raises(DataError, match="needs the columns filepath and predicted, has filepath, label"):
        Baseline(predictions=tmp_path / "c.csv").compare(measured(100, tmp_path))
    file = said(100, tmp_path / "d.csv")
    file.write_text(file.read_text().replace("sad", "glum"))
    with pytest.raises(DataError, match="predicts the class 'glum'"):
        Baseline(predictions=file).compare(measured(100, tmp_path))


def test_figures_beside_predictions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="leave it out"):
        Baseline(accuracy=0.5, predictions=said(1, tmp_path / "b.csv"))
