import json
import shutil
from pathlib import Path

import pytest

from emotion_lightning.cli import main
from tests.helpers import QUIET, RUN

pytestmark = pytest.mark.usefixtures("in_an_empty_folder")


def test_a_validation_of_a_checkpoint_is_measured_like_a_test(trained: Path) -> None:
    before = json.loads((RUN / "report/val/metrics.json").read_text())
    shutil.rmtree(RUN / "report")
    main(["validate", "--ckpt_path", str(trained / "best.ckpt"), *QUIET])
    after = json.loads((RUN / "report/val/metrics.json").read_text())
    assert {**before, "checkpoint": ""} == {**after, "checkpoint": ""}
