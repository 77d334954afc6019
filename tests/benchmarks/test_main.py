import json
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.peers import PEERS
from benchmarks.sections import SECTIONS, startup
from benchmarks.setting import PHASES, Setting

TINY = [
    *("--backbone", "test_resnet", "--image_size", "32", "--batch_size", "8", "--rounds", "2", "--device", "cpu"),
    *("--steps", "1", "--workers", "0", "--least_seconds", "0"),
]


@pytest.fixture
def no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("importing the libraries", "--help", "fit --help", "fit of one step")
    monkeypatch.setattr(startup, "commands", lambda setting: {name: [sys.executable, "-c", ""] for name in names})


@pytest.mark.usefixtures("no_processes")
def test_one_command_measures_every_section(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("fastai", "transformers"):
        monkeypatch.setitem(PEERS, name, (*PEERS[name][:2], "no_such_package"))
    output = tmp_path / "out.json"
    main([*TINY, "--output", str(output)])
    saved = json.loads(output.read_text(encoding="utf-8"))
    assert {figure["section"] for figure in saved["figures"]} == set(SECTIONS)
    for figure in saved["figures"]:
        missing = figure["who"] in ("fastai", "transformers")
        assert len(figure["seconds"]) == (0 if missing else 2), figure
        assert figure["note"].startswith("not installed") == missing
    who = {(figure["work"], figure["who"]) for figure in saved["figures"] if figure["section"] == "phases"}
    assert who == {(phase, peer) for phase in PHASES for peer in PEERS}
    verdicts = {goal["work"]: goal["verdict"] for goal in saved["goals"]}
    assert verdicts["all: times as fast as fastai"] == "not measured"
    assert verdicts["all: bare loop on random numbers"] == "not measured: needs a GPU"
    assert verdicts["all: times as fast as the notebook"].endswith("in another setting")
    table = capsys.readouterr().out
    assert "not installed: pip install no_such_package" in table
    assert all(goal["work"] in table for goal in saved["goals"])


def test_only_chosen_sections_are_measured(tmp_path: Path, setting: Setting) -> None:
    output = tmp_path / "out.json"
    main(["input", *TINY, "--root", str(setting.root), "--output", str(output)])
    saved = json.loads(output.read_text(encoding="utf-8"))
    assert {figure["section"] for figure in saved["figures"]} == {"input"}


def test_too_few_images_are_refused(tmp_path: Path, setting: Setting, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["input", *TINY, "--steps", "9", "--root", str(setting.root), "--output", str(tmp_path / "out.json")])
    assert stopped.value.code == 2
    assert "has 36 training images" in capsys.readouterr().err


def test_an_unknown_section_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["phase"])
    assert "no section phase; there are phases" in capsys.readouterr().err


@pytest.mark.slow
def test_the_processes_of_startup_end_well(setting: Setting) -> None:
    figures = {figure.who: figure for figure in startup.measure(setting)}
    assert set(figures) == {"importing the libraries", "--help", "fit --help", "fit of one step"}
    assert all(figure.median for figure in figures.values())
