import json
import shutil
from collections.abc import Callable
from pathlib import Path
from statistics import mean, stdev

import pytest
import yaml

from emotion_lightning.cli import main
from tests.helpers import fails

Vary = Callable[..., str]


@pytest.fixture
def vary(reported: Path, tmp_path: Path) -> Vary:
    """Copies the run under a name, with another seed, dropout and accuracy."""

    def make(name: str, seed: int, dropout: float = 0.5, accuracy: float = 0.5) -> str:
        run = shutil.copytree(reported, tmp_path / name)
        config = yaml.safe_load((run / "config.yaml").read_text())
        config["seed_everything"] = seed
        config["model"]["dropout_rate"] = dropout
        (run / "config.yaml").write_text(yaml.safe_dump(config))
        file = run / "report/test/metrics.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"accuracy": accuracy, "seed": seed}))
        return str(run)

    return make


def test_seeds_are_averaged_and_other_options_told_apart(vary: Vary) -> None:
    scores = (0.5, 0.6, 0.55)
    runs = [vary(f"a{seed}", seed, accuracy=score) for seed, score in enumerate(scores)]
    main(["report", *runs, vary("b", 0, dropout=0.2, accuracy=0.7)])
    found = json.loads(Path("comparison/comparison.json").read_text())
    assert found["options"] == {"model.dropout_rate": {"a0": 0.5, "a1": 0.5, "a2": 0.5, "b": 0.2}}
    seeds, other = found["groups"]["test"]
    assert seeds["runs"] == ["a0", "a1", "a2"]
    assert seeds["mean_and_sd"]["accuracy"] == pytest.approx([mean(scores), stdev(scores)])
    assert other["mean_and_sd"]["accuracy"] == [0.7, None]
    page = Path("comparison/index.html").read_text()
    assert f"{mean(scores):.4f} ± {stdev(scores):.4f}" in page
    assert "mean ± sd of 3 runs, 3 seeds" in page
    assert "--model.dropout_rate" in page


def test_runs_on_other_splits_are_no_seeds_of_one_another(vary: Vary) -> None:
    runs = [vary(name, seed) for seed, name in enumerate("abc")]
    file = Path(runs[2]) / "config.yaml"
    config = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump(config | {"data": config["data"] | {"split_seed": 7}}))
    main(["report", *runs])
    groups = json.loads(Path("comparison/comparison.json").read_text())["groups"]["test"]
    assert sorted(group["runs"] for group in groups) == [["a", "b"], ["c"]]


def test_an_option_that_version_0_1_named_otherwise_is_the_same_option(vary: Vary) -> None:
    old, new = vary("old", 0), vary("new", 0)
    file = Path(old) / "config.yaml"
    config = yaml.safe_load(file.read_text())
    config["data"]["size_schedule"] = config["data"].pop("resolution_schedule")
    config["data"]["merge"] = {"up": ["happy", "surprised"]}
    del config["data"]["merge_classes"]
    file.write_text(yaml.safe_dump(config))
    main(["report", old, new])
    found = json.loads(Path("comparison/comparison.json").read_text())
    assert found["options"] == {"data.merge_classes": {"old": {"up": ["happy", "surprised"]}, "new": None}}


def test_models_are_tested_against_each_other_on_the_same_images_only(vary: Vary) -> None:
    first, second = vary("a", 0), vary("b", 1)
    third = vary("c", 2)
    predictions = Path(second) / "report/test/predictions.csv"
    header, *rows = predictions.read_text().splitlines()
    cells = [row.split(",") for row in rows]
    classes = header.split(",")[7:]
    for row in cells:  # right everywhere
        row[7:] = [str(float(name == row[1]) * 0.9 + 0.03) for name in classes]
    predictions.write_text("\n".join([header, *map(",".join, cells)]) + "\n")
    other = Path(third) / "report/test/predictions.csv"
    other.write_text(other.read_text().replace("test/happy/00.png", "test/happy/99.png"))
    main(["report", first, second, third, "--output", "out"])
    (test,) = json.loads(Path("out/comparison.json").read_text())["mcnemar"]["test"]
    assert (test["first"], test["second"], test["ours"]) == ("a", "b", 0)
    assert test["theirs"] == sum(row[1] != row[2] for row in cells)


def test_a_run_given_twice_is_refused(reported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "given twice" in fails(capsys, 2, "report", str(reported), str(reported))


def test_images_are_known_by_their_content_not_by_their_names(vary: Vary) -> None:
    first, second = vary("a", 0), vary("b", 1)
    file = Path(second) / "report/test/metrics.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"images": "others of the same name"}))
    main(["report", first, second, "--output", "out"])
    assert json.loads(Path("out/comparison.json").read_text())["mcnemar"]["test"] == []


def test_runs_of_which_no_options_are_known_stand_alone(vary: Vary) -> None:
    runs = [vary("a", 0), vary("b", 1)]
    for run in runs:
        (Path(run) / "config.yaml").unlink()
    main(["report", *runs, "--output", "out"])
    groups = json.loads(Path("out/comparison.json").read_text())["groups"]["test"]
    assert [group["runs"] for group in groups] == [["a"], ["b"]]


def test_the_best_is_named_and_whether_by_more_than_chance(vary: Vary) -> None:
    runs = [vary("a", 0), vary("b", 1)]
    predictions = Path(runs[1]) / "report/test/predictions.csv"
    header, *rows = predictions.read_text().splitlines()
    classes = header.split(",")[7:]
    cells = [row.split(",") for row in rows]
    for row in cells:  # right everywhere
        row[7:] = [str(float(name == row[1]) * 0.9 + 0.03) for name in classes]
    predictions.write_text("\n".join([header, *map(",".join, cells)]) + "\n")
    file = Path(runs[1]) / "report/test/metrics.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"f1_macro": 1.0}))
    main(["report", *runs, "--group_by", "seed_everything"])
    found = json.loads(Path("comparison/comparison.json").read_text())
    assert [group["runs"] for group in found["groups"]["test"]] == [["b"], ["a"]]
    assert found["verdict"]["test"].startswith("b is best: macro F1 1.0000, then a, ")
    assert "this is larger than chance" in found["verdict"]["test"]
    assert found["same_images"]["test"]
    page = Path("comparison/index.html").read_text()
    assert "b ★" in page
    assert "F1 of each class" in page
    file.write_text(json.dumps(json.loads(file.read_text()) | {"images": "others"}))
    main(["report", *runs, "--group_by", "seed_everything"])
    found = json.loads(Path("comparison/comparison.json").read_text())
    assert "different images" in found["verdict"]["test"]
    assert "The runs were measured on different images" in Path("comparison/index.html").read_text()


def test_groups_of_one_option_and_an_unknown_one(vary: Vary, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [vary("a", 0), vary("b", 1), vary("c", 0, dropout=0.2), vary("d", 1, dropout=0.2)]
    main(["report", *runs, "--group_by", "model.dropout_rate"])
    found = json.loads(Path("comparison/comparison.json").read_text())
    assert [group["runs"] for group in found["groups"]["test"]] == [["a", "b"], ["c", "d"]]
    assert "permutation test of 2 against 2 runs; with so few runs p is at least 0.33" in found["verdict"]["test"]
    assert "--group_by model.rate is no option" in fails(capsys, 2, "report", *runs, "--group_by", "model.rate")
