import csv
import json
import re
from pathlib import Path

import pytest

from emotion_lightning.cli import main
from tests.helpers import QUIET, TINY, fails


@pytest.mark.slow
def test_folds_are_reviewed_and_a_resume_and_a_validation_remember_the_corrections(
    faces: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], in_an_empty_folder: None
) -> None:
    main(["fit", "--data.root", str(faces), "--folds", "2", "--name", "f", *TINY, *QUIET])
    assert "review lightning_logs/f-fold0" in capfd.readouterr().out
    main(["review", "f-fold1"])
    said = capfd.readouterr().out
    assert "Run: lightning_logs/f-fold0\nRun: lightning_logs/f-fold1\n" in said
    assert "of 66 labels are doubtful" in said
    page = Path("review/index.html").read_text(encoding="utf-8")
    data = json.loads(re.findall(r'id="data">(.*?)</script>', page, re.DOTALL)[0])
    item = data["items"][0]
    other = next(name for name in data["classes"] if name != item["given"])
    with Path("c.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([data["columns"], [item["name"], item["hash"], item["given"], other, item["why"]]])
    fitted = ["fit", "--data.root", str(faces), "--data.folds", "2", *TINY, *QUIET, "--checkpoint.every_n_epochs", "1"]
    main([*fitted, "--name", "corrected", "--data.corrections", "c.csv"])
    main(["fit", "--ckpt_path", "lightning_logs/corrected/checkpoints/epoch_001.ckpt", *QUIET])
    main(["validate", "--ckpt_path", "corrected", *QUIET])
    assert "".join(capfd.readouterr()).count("c.csv: labels of 1 image (") == 3
    main(["review", "corrected"])
    page = Path("review/index.html").read_text(encoding="utf-8")
    data = json.loads(re.findall(r'id="data">(.*?)</script>', page, re.DOTALL)[0])
    assert [row[:4] for row in data["earlier"]] == [[item["name"], item["hash"], item["given"], other]]
    # corrections leave the cut as it is, so that those made since can be measured
    Path("none.csv").write_text(Path("c.csv").read_text(encoding="utf-8").splitlines()[0] + "\n", encoding="utf-8")
    main(["validate", "--ckpt_path", "corrected", "--data.corrections", "none.csv", *QUIET])
    assert "none.csv: labels of 0 images changed" in "".join(capfd.readouterr())


def test_a_run_that_was_not_measured_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "has no results of its validation split" in fails(capsys, 1, "review", str(tmp_path))
