"""The model card states the figures of what is exported, and says of all others what they are of."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import ModelCard

from emotion_lightning.cli import main
from tests.helpers import fails

pytestmark = pytest.mark.usefixtures("in_an_empty_folder", "quick")

Card = Callable[..., ModelCard]
METRICS = Path("run/report/test/metrics.json")
THRESHOLD = {"probability": 0.8, "precision": 0.9, "coverage": 0.25}
REACHED = {"threshold": 0.8, "answers": 2, "precision": 1.0, "intervals": {"precision": [0.34, 1.0]}}


@pytest.fixture
def card(reported: Path) -> Card:
    """Exports a copy of the run whose test metrics and checkpoint have been changed, and reads its card."""

    def export(threshold: dict[str, float] | None = None, **metrics: Any) -> ModelCard:
        shutil.copytree(reported, "run")
        measured = json.loads(METRICS.read_text())
        METRICS.write_text(json.dumps(measured | metrics))
        checkpoint = torch.load("run/checkpoints/best.ckpt", weights_only=True)
        checkpoint["calibration"]["threshold"] = threshold
        torch.save(checkpoint, "run/checkpoints/best.ckpt")
        main(["export", "--ckpt_path", "run/checkpoints/best.ckpt", "--output", "model"])
        return ModelCard.load("model/README.md")

    return export


def measured(reported: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((reported / "report/test/metrics.json").read_text())
    return found


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"weights": "of another"}, "of other weights, those of another checkpoint of the same run."),
        ({"tta": "flip"}, "of answers with test-time augmentation flip, not none."),
        ({"calibration": {"temperature": 1.25, "ece": 0.1, "ece_scaled": 0.1}}, "of a temperature of 1.25, not 1.0."),
        ({"selective": REACHED}, "of a threshold of 0.8000, not no threshold."),
        ({"tta": "flip", "weights": None}, "same run; of answers with test-time augmentation flip, not none."),
    ],
)
def test_figures_of_anything_else_are_marked_and_kept_from_the_hub(
    changes: dict[str, Any], said: str, card: Card
) -> None:
    found = card(**changes)
    assert "**These are no figures of what is exported**, but of" in found.text
    assert said in found.text
    assert not found.data.eval_results


def test_the_hub_is_given_the_figures_of_the_test_split(card: Card) -> None:
    found = card()
    assert found.data.eval_results
    assert {result.dataset_split for result in found.data.eval_results} == {"test"}
    assert "no figures of what is exported" not in found.text


def test_a_validation_chose_the_checkpoint_and_is_no_result_for_the_hub(reported: Path) -> None:
    shutil.copytree(reported, "run")
    shutil.move("run/report/test", "run/report/val")
    path = Path("run/report/val/metrics.json")
    path.write_text(json.dumps(measured(reported) | {"split": "val"}))
    main(["export", "--ckpt_path", "run/checkpoints/best.ckpt", "--output", "model"])
    found = ModelCard.load("model/README.md")
    assert "### Validation: 18 images" in found.text
    assert not found.data.eval_results


def test_figures_of_a_part_are_said_to_be_so(card: Card) -> None:
    note = "16 of 18 images of the test split are measured, drawn evenly over the classes"
    found = card(n=16, of=18, notes=[note])
    assert "### Test: 16 of 18 images of" in found.text
    assert f"- {note}" in found.text
    assert not found.data.eval_results


def test_the_hub_is_given_figures_without_copies(card: Card, reported: Path) -> None:
    free = {key: measured(reported)[key] for key in ("per_class", "intervals", "selective", "f1_weighted", "loss")}
    found = card(leaked=4, leak_free=free | {"n": 14, "accuracy": 0.125, "f1_macro": 0.0625})
    results = {result.metric_type: result for result in found.data.eval_results or []}
    assert (results["accuracy"].metric_value, results["f1"].metric_value) == (0.125, 0.0625)
    assert "without a copy among those seen in training" in results["accuracy"].dataset_name


def test_the_hub_is_given_nothing_where_every_image_has_a_copy(card: Card) -> None:
    assert not card(leaked=18, leak_free=None).data.eval_results


def test_the_figures_at_the_exported_threshold_are_shown(card: Card) -> None:
    found = card(THRESHOLD, selective=REACHED)
    assert "At a threshold of 0.800, 2 of the 18 images get an answer,\nof which 100.0 % are right (34" in found.text
    assert "for 25.0 % of the validation images without a copy among those trained on." in found.text
    assert found.data.eval_results


def test_a_threshold_that_no_image_reaches_is_said(card: Card) -> None:
    nothing = {"threshold": 0.8, "answers": 0, "coverage": 0.0, "precision": None}
    found = card(THRESHOLD, selective=nothing | {"intervals": {"coverage": [0.0, 0.2], "precision": [None, None]}})
    assert "At a threshold of 0.800, none of the 18 images gets an answer." in found.text


def test_damaged_metrics_are_not_taken_for_none(card: Card, reported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(reported, "run")
    METRICS.write_text("{")
    message = fails(capsys, 1, "export", "--ckpt_path", "run/checkpoints/best.ckpt", "--output", "model")
    assert "metrics.json or predictions.csv is damaged; measure the checkpoint again" in message
    assert not Path("model").exists()


def test_the_version_is_that_of_the_export(card: Card) -> None:
    found = card()
    assert ", exported with emotion_lightning" in found.text
    assert "trained with emotion_lightning" not in found.text
