"""What is read back from a run's folder is what was measured, and what scikit-learn says of it."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn import metrics as sklearn

from emotion_lightning.errors import DataError
from emotion_lightning.evaluation.outputs import EvalOutputs
from emotion_lightning.report.results import SplitResults, read_results, results_folder, write_metrics


def test_every_figure_is_that_of_scikit_learn(reported: Path) -> None:
    measured = read_results(reported / "report/test")
    assert measured is not None
    names, found = measured.class_names, measured.metrics
    with (reported / "report/test/predictions.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    labels, predicted = [row["label"] for row in rows], [row["predicted"] for row in rows]
    probabilities = [[float(row[name]) for name in names] for row in rows]
    expected = {
        "accuracy": sklearn.accuracy_score(labels, predicted),
        "f1_macro": sklearn.f1_score(labels, predicted, average="macro", zero_division=0),
        "f1_weighted": sklearn.f1_score(labels, predicted, average="weighted", zero_division=0),
        "loss": sklearn.log_loss(labels, probabilities, labels=names),
    }
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-9)
    columns = sklearn.precision_recall_fscore_support(labels, predicted, labels=names, zero_division=0)
    for position, name in enumerate(names):
        own = [label == name for label in labels]
        scores = [row[position] for row in probabilities]
        expected = dict(
            zip(("precision", "recall", "f1", "support"), (column[position] for column in columns), strict=True)
        )
        expected |= {
            "roc_auc": sklearn.roc_auc_score(own, scores),
            "average_precision": sklearn.average_precision_score(own, scores),
        }
        assert found["per_class"][name] == pytest.approx(expected, abs=1e-9)
    confusion = sklearn.confusion_matrix(labels, predicted, labels=names)
    assert torch.equal(measured.outputs.confusion, torch.from_numpy(confusion))


def test_predictions_are_read_back_as_they_were(reported: Path) -> None:
    measured = read_results(reported / "report/val")
    assert measured is not None
    assert measured.metrics["n"] == len(measured.names) == len(set(measured.names)) == 18
    assert measured.outputs.losses.mean().item() == pytest.approx(measured.metrics["loss"], abs=1e-12)
    assert measured.outputs.probabilities.sum(dim=1).tolist() == pytest.approx([1] * 18)
    assert all(name.split("/")[0] == "val" for name in measured.names)


def test_a_fit_measures_its_best_checkpoint(reported: Path) -> None:
    best = torch.load(reported / "checkpoints/best.ckpt", weights_only=True)
    found = json.loads((reported / "report/val/metrics.json").read_text())
    assert found["f1_macro"] == pytest.approx(best["callbacks"]["Checkpoint"]["best_score"], abs=1e-6)
    assert found["calibration"]["temperature"] == best["calibration"]["temperature"]
    assert found["calibration"]["fitted_with_tta"] == "none"
    assert found["bias_warnings"] == [
        "These are the images that chose the checkpoint: on others the metrics will be somewhat lower."
    ]
    test = json.loads((reported / "report/test/metrics.json").read_text())
    assert test["bias_warnings"] == []
    assert test["calibration"]["temperature"] == best["calibration"]["temperature"]  # never fitted to the test split


@pytest.mark.parametrize(
    ("face", "message"),
    [
        ({"gallery": "a", "picture": "https://example.org/x.png", "heat": None}, "names pictures that are not in it"),
        (
            {"gallery": "a", "picture": "data:image/png;base64,AA", "heat": "//a.org/x.png"},
            "names pictures that are not in it",
        ),
        ({"gallery": "a", "picture": None}, "is damaged"),
        (["?"], "is damaged"),
    ],
)
def test_pictures_from_elsewhere_are_refused(tmp_path: Path, face: Any, message: str) -> None:
    (tmp_path / "faces.json").write_text(json.dumps([face]))
    results = SplitResults(tmp_path, {}, (), EvalOutputs(torch.zeros(0, 2), torch.zeros(0), torch.zeros(0)))
    with pytest.raises(DataError, match=rf"faces\.json {message}"):
        results.faces  # noqa: B018  # it is read now


def test_other_data_of_one_name_has_a_folder_each(tmp_path: Path) -> None:
    assert results_folder(tmp_path, "test") == tmp_path / "report/test"
    found = []
    for place in ("a/faces", "b/faces", "a/faces", "faces.csv", "c/faces"):
        other = tmp_path / place
        other.parent.mkdir(exist_ok=True)
        if other.suffix:
            other.write_text("")
        found.append(results_folder(tmp_path, "test", other))
        write_metrics(found[-1], {"data": str(other)})
    names = ["test-faces", "test-faces-2", "test-faces", "test-faces-3", "test-faces-4"]
    assert [folder.name for folder in found] == names
    (found[0] / "metrics.json").write_text("{")  # damaged: it may be anybody's
    assert results_folder(tmp_path, "test", tmp_path / "a/faces").name == "test-faces-5"
