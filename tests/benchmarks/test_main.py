import json
import sys
from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.__main__ import main
from benchmarks.peers import PEERS
from benchmarks.sections import SECTIONS, phases, scale, startup
from benchmarks.setting import PHASES, Setting

TINY = [
    *("--backbone", "test_resnet", "--image_size", "32", "--batch_size", "8", "--rounds", "2", "--device", "cpu"),
    *("--steps", "1", "--workers", "0", "--least_seconds", "0"),
]


@pytest.fixture
def no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("importing the libraries", "--help", "fit --help", "fit of one step")
    monkeypatch.setattr(startup, "commands", lambda setting: {name: [sys.executable, "-c", ""] for name in names})
    monkeypatch.setattr(phases, "own_process", ThisProcess)


class ThisProcess(Executor):
    def submit(self, call: Callable[..., Any], /, *args: Any, **options: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(call(*args, **options))
        return done


@pytest.mark.slow
@pytest.mark.usefixtures("no_processes")
def test_one_command_measures_every_section(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("fastai", "transformers"):
        monkeypatch.setitem(PEERS, name, (*PEERS[name][:2], "no_such_package"))
    monkeypatch.setattr(scale, "SIZES", (100, 200))
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


@pytest.mark.slow
@pytest.mark.usefixtures("no_processes")
def test_only_chosen_peers_train(tmp_path: Path, setting: Setting, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "out.json"
    main(["phases", *TINY, "--peers", "ceiling", "notebook", "--root", str(setting.root), "--output", str(output)])
    saved = json.loads(output.read_text(encoding="utf-8"))
    assert {figure["who"] for figure in saved["figures"]} == {"ceiling", "notebook"}
    with pytest.raises(SystemExit):
        main(["phases", *TINY, "--peers", "nobody"])
    assert "choose from ours, notebook" in capsys.readouterr().err.replace("'", "")


def test_an_unknown_section_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["phase"])
    assert "no section phase; there are phases" in capsys.readouterr().err


@pytest.mark.slow
def test_a_peer_changes_its_own_process_alone(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)  # which ours sets, as do trainers of tests before
    figures = phases.measure(setting)
    assert {(figure.work, figure.who) for figure in figures} == {
        (phase, peer) for phase in PHASES for peer in setting.peers
    }
    assert all(figure.median for figure in figures)
    assert not torch.backends.cudnn.benchmark


@pytest.mark.slow
def test_the_processes_of_startup_end_well(setting: Setting) -> None:
    figures = {figure.who: figure for figure in startup.measure(setting)}
    assert set(figures) == {"importing the libraries", "--help", "fit --help", "fit of one step"}
    assert all(figure.median for figure in figures.values())
