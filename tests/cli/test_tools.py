"""From planted copies to what training leaves out and what a test says of them."""

import json
from pathlib import Path

import pytest

from emotion_lightning.cli import main
from tests.helpers import QUIET, TINY, fails

pytestmark = pytest.mark.usefixtures("in_an_empty_folder")

RUN = Path("lightning_logs/version_0")


def test_an_audit_finds_what_was_planted(leaky: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["audit", "--data.root", str(leaky), "--output", "found"])
    out = capsys.readouterr().out
    assert "test images with a copy in train" in out
    report = json.loads(Path("found/audit.json").read_text())
    assert report["leaks"] == {
        "train-val": {"images": 1, "of": 18, "exact": 1},
        "train-test": {"images": 2, "of": 18, "exact": 1, "flipped": 1},
    }
    pairs = {(leak["image"]["path"], leak["copy"]["path"]) for leak in report["leaking"]}
    assert ("test/angry/01.png", "train/angry/b.png") in pairs
    assert [len(group) for group in report["conflicting"]] == [2]
    page = Path("found/audit.html").read_text()
    assert "data:image/png" in page
    assert "wrong.png" in page


def test_strict_ends_with_1_where_something_is_wrong(
    leaky: Path, faces: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["audit", "--data.root", str(leaky), "--strict"])
    assert stopped.value.code == 1
    assert Path("audit/audit.json").is_file()
    main(["audit", "--data.root", str(faces), "--strict"])
    assert "nothing found" in capsys.readouterr().out
    assert "needs --data.root" in fails(capsys, 2, "audit")


def test_an_audit_takes_the_data_options_of_a_run(leaky: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["fit", "--data.root", str(leaky), "--data.drop_classes", "[surprised]", *TINY, *QUIET])
    main(["audit", "--config", str(RUN / "config.yaml")])
    assert "surprised dropped" in capsys.readouterr().out
    main(["audit", "--config", str(RUN / "config.yaml"), "--data.drop_classes", "null"])  # what is given goes before
    assert "surprised dropped" not in capsys.readouterr().out
    Path("broken.yaml").write_text("[")
    assert "broken.yaml" in fails(capsys, 2, "audit", "--config", "broken.yaml")
