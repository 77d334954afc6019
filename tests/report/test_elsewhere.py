from pathlib import Path

import pytest
import torch

from emotion_lightning.evaluation.metrics import compute_metrics
from emotion_lightning.evaluation.outputs import EvalOutputs
from emotion_lightning.report.elsewhere import elsewhere
from emotion_lightning.report.results import read_results, write_metrics, write_predictions
from emotion_lightning.report.run import Run

NAMES = ["angry", "happy", "sad"]
MORE = {"data": "", "bias_warnings": [], "calibration": {}, "tta": "none", "seed": 1}


def write(folder: Path, labels: list[int], predicted: list[int], leaked: list[bool], **more: object) -> None:
    logits = 3 * torch.nn.functional.one_hot(torch.tensor(predicted), 3).double()
    subjects = torch.arange(len(labels)) // 2
    outputs = EvalOutputs(logits, torch.tensor(labels), torch.arange(len(labels)), subjects)
    free = compute_metrics(outputs.where(~torch.tensor(leaked)), NAMES, subset=True)
    counted = {"split": folder.name.partition("-")[0], "leaked": sum(leaked), "leak_free": free}
    write_metrics(folder, {**compute_metrics(outputs, NAMES), **MORE, **counted, **more})
    write_predictions(folder, outputs, [f"{n}.png" for n in range(len(labels))], NAMES, torch.tensor(leaked))


def test_own_figures_are_on_the_shared_classes_and_both_without_what_was_seen(tmp_path: Path) -> None:
    own = tmp_path / "report/test"
    write(own, [0, 0, 1, 1, 2, 2], [1, 1, 1, 2, 2, 0], [False, False, False, False, True, False])
    write(tmp_path / "report/test-other", [1, 1, 2, 2], [1, 1, 2, 1], [True, False, False, False])
    [row] = elsewhere(Run(tmp_path))
    assert row["classes"] == ["happy", "sad"]
    assert (row["here"]["n"], row["here"]["of"]) == (3, 4)  # the angry do not count, nor the sad one that was seen
    assert row["here"]["accuracy"] == pytest.approx(1 / 3)
    assert (row["there"]["n"], row["there"]["of"], row["there"]["accuracy"]) == (3, 4, pytest.approx(2 / 3))
    apart = {"n": 2, "accuracy": 0.5, "f1_macro": 0.4, "intervals": {}}
    write(tmp_path / "report/test-other", [1, 1, 2, 2], [1, 1, 2, 1], [True] + [False] * 3, leak_free_of_both=apart)
    assert elsewhere(Run(tmp_path))[0]["there"]["n"] == 2  # nor those with a copy in that data's own training split


def test_subjects_are_read_as_they_were_written(tmp_path: Path) -> None:
    write(tmp_path / "test", [0, 0, 1, 2], [0, 1, 1, 2], [False] * 4)
    found = read_results(tmp_path / "test")
    assert found is not None
    assert found.outputs.subjects is not None
    assert found.outputs.subjects.tolist() == [0, 0, 1, 1]
    assert found.metrics["subjects"] == 2
    assert found.outputs.labels.tolist() == [0, 0, 1, 2]
