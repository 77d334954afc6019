import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from emotion_lightning.cli import main
from tests.helpers import QUIET, RUN, fails

pytestmark = pytest.mark.usefixtures("in_an_empty_folder")


def test_a_validation_of_a_checkpoint_is_measured_like_a_test(trained: Path) -> None:
    before = json.loads((RUN / "report/val/metrics.json").read_text())
    shutil.rmtree(RUN / "report")
    main(["validate", "--ckpt_path", str(trained / "best.ckpt"), *QUIET])
    after = json.loads((RUN / "report/val/metrics.json").read_text())
    assert {**before, "checkpoint": ""} == {**after, "checkpoint": ""}


@pytest.mark.slow
def test_a_test_measures_groups_and_corrupted_copies_which_the_report_shows(trained: Path) -> None:
    def robustness(*options: str) -> dict[str, Any]:
        main(["test", "--ckpt_path", str(trained / "best.ckpt"), *QUIET[:4], "--robustness", *options])
        found: dict[str, Any] = json.loads((RUN / "report/test/robustness.json").read_text())
        return found

    grouped = ["--evaluation.groups", "[folder:1, folder:2]", "--report.write", "true"]
    found = robustness(*grouped, "--data.eval_batch_size", "4")
    metrics = json.loads((RUN / "report/test/metrics.json").read_text())
    assert found["clean"]["accuracy"] == metrics["accuracy"]
    assert found["clean"]["ece"] == pytest.approx(metrics["calibration"]["ece_scaled"])
    assert found["mean"]["accuracy"] == pytest.approx(sum(accuracies(found)) / 60)
    assert list(metrics["groups"]) == ["folder:1", "folder:2"]  # crossed, they would be too small
    assert all(group["few"] for group in metrics["groups"]["folder:2"]["groups"].values())
    page = (RUN / "report/index.html").read_text()
    assert "By folder:2" in page
    assert "On corrupted images" in page
    assert found["sheet"][:60] in page
    other = robustness("--data.eval_batch_size", "7", "--report.write", "false")
    assert accuracies(other) == accuracies(found)  # whatever stands beside an image in its batch
    main(["test", "--ckpt_path", str(trained / "best.ckpt"), *QUIET])
    assert not (RUN / "report/test/robustness.json").exists()  # it would be of another measurement


def accuracies(found: dict[str, Any]) -> list[float]:
    return [each["accuracy"] for kind in found["corruptions"].values() for each in kind["strengths"]]


def test_groups_that_are_not_there_are_refused_before_anything_is_measured(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    test = ("test", "--ckpt_path", str(trained / "best.ckpt"), *QUIET, "--evaluation.groups", "[age]")
    assert "--evaluation.groups age: the data has no such column; there are none" in fails(capsys, 2, *test)
