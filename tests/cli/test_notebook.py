from pathlib import Path
from typing import Any

import pytest

import emotion_lightning
from emotion_lightning.cli import notebook
from emotion_lightning.errors import DataError, UsageError
from tests.helpers import RUN


@pytest.mark.usefixtures("in_an_empty_folder")
def test_a_mistake_is_an_error_that_can_be_caught() -> None:
    with pytest.raises(DataError, match="nowhere does not exist"):
        emotion_lightning.fit("nowhere")
    with pytest.raises(UsageError, match="batch_size"):
        emotion_lightning.fit("nowhere", data={"batch_size": -1})


def test_options_are_those_of_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    typed: list[str] = []

    def run(args: list[str]) -> Any:
        typed.extend(args)
        raise SystemExit(130)

    monkeypatch.setattr(notebook, "run_lightning", run)
    with pytest.raises(KeyboardInterrupt):  # which a notebook shows in one line
        emotion_lightning.fit(
            Path("faces"), seed_everything=1, unfreeze={"schedule": {0: "classifier", 1: "all"}},
            data={"drop_classes": ["sad", "fear"]}, model={"pretrained": False, "mean": None, "lr_backbone": 1e-5},
        )  # fmt: skip
    assert typed == [
        "fit", "--data.root=faces", "--data.drop_classes=[sad, fear]", "--seed_everything=1",
        "--unfreeze.schedule={0: classifier, 1: all}", "--model.pretrained=false", "--model.mean=null",
        "--model.lr_backbone=1.0e-05",
    ]  # fmt: skip


def test_only_a_notebook_shows_a_report_inline(reported: Path) -> None:
    run = notebook.Trained(reported)
    with pytest.raises(UsageError, match=rf"open .*{RUN.name}/report/index\.html"):
        run.show()
    assert run.checkpoint.is_file()
    assert "srcdoc" in str(run._repr_html_())
