"""What README and docs say works: commands are parsed, examples run, links and options exist."""

import re
import runpy
import shlex
import shutil
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from lightning.pytorch import Trainer
from PIL import Image

from emotion_lightning.callbacks import default_callbacks
from emotion_lightning.cli import commands, main
from emotion_lightning.cli.help import help_text, shipped
from emotion_lightning.model.module import EmotionClassifier
from emotion_lightning.options import OF_FACES, OPTIONS
from tests.helpers import RUN, Lab

HOME = Path(__file__).parents[1]
PAGES = [HOME / "README.md", *sorted((HOME / "docs").glob("*.md"))]
TEXTS = {page.name: page.read_text(encoding="utf-8") for page in PAGES}
GENERATOR = runpy.run_path(str(HOME / "docs/generate_options.py"))
PLACEHOLDERS = {"$WEIGHTS": "weights.safetensors"}


def blocks(language: str, text: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


COMMANDS = sorted(
    {
        command
        for text in TEXTS.values()
        for block in blocks("bash", text)
        for command in re.findall(r"-m emotion_lightning (.+)", block)
    }
)


@pytest.fixture(scope="module")
def with_runs(reported: Path, faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the commands name: runs, faces and configurations."""
    folder = tmp_path_factory.mktemp("user")
    shutil.copytree(reported, folder / RUN)
    for name in ("version_1", "version_2", "lr3e-4"):
        (folder / RUN).with_name(name).symlink_to("version_0")
    for name in ("faces", "new_faces", "photos"):
        (folder / name).symlink_to(faces)
    (folder / "configs").symlink_to(HOME / "configs")
    shutil.copy(folder / RUN / "checkpoints/best.ckpt", folder)
    (folder / "mine.yaml").write_text("data: {batch_size: 8}")
    return folder


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_parsed(
    command: str, with_runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(with_runs)
    monkeypatch.setattr(sys, "argv", ["emotion_lightning"])
    args = [PLACEHOLDERS.get(arg, arg) for arg in shlex.split(command)]
    if args[0] == "predict":
        Path("answers.csv").unlink(missing_ok=True)
        main(args)
        assert "Wrote answers.csv: " in capsys.readouterr().err
        return
    if args[0] in ("report", "review", "audit", "export"):  # which have no --print_config
        monkeypatch.setattr("emotion_lightning.export.folder.export", lambda *args: args)
        monkeypatch.setattr("emotion_lightning.cli.export.summary", lambda done: f"Wrote {done}")
        monkeypatch.setattr("emotion_lightning.report.page.write_report", lambda run, baseline: run)
        monkeypatch.setattr(
            "emotion_lightning.report.comparison.write_comparison", lambda runs, output, group_by: output
        )
        main(args)
        assert "Wrote " in capsys.readouterr().out
        return
    if args[0] == "runs":
        main(args)
        assert "finished after 3 epochs" in capsys.readouterr().out
        return
    if args[0] == "demo":
        pytest.importorskip("gradio")
        monkeypatch.setattr("emotion_lightning.cli.demo.time", SimpleNamespace(sleep=_interrupted))
        main(args)
        assert "Open http://127.0.0.1:" in capsys.readouterr().out
        return
    if args[0] == "prepare":
        monkeypatch.setattr(
            "emotion_lightning.cli.prepare.FaceDetector", lambda model: SimpleNamespace(find=lambda x: [])
        )
        main(args)
        assert "Wrote crops" in capsys.readouterr().out
        shutil.rmtree("crops")
        return
    if "--print_config" not in args:
        args.append("--print_config")
    with pytest.raises(SystemExit) as stopped:
        main(args)
    assert stopped.value.code == 0
    assert "trainer:" in capsys.readouterr().out


def _interrupted(seconds: float) -> None:
    raise KeyboardInterrupt


def test_commands_are_found_in_the_pages() -> None:
    assert {command.split()[0] for command in COMMANDS} == set(commands.COMMANDS)


@pytest.mark.parametrize("page", TEXTS)
def test_options_that_a_page_names_exist(page: str) -> None:
    named = set(re.findall(r"--([a-z_]+(?:\.[a-z_0-9]+)+)", TEXTS[page]))
    assert named <= {*OPTIONS, *OF_FACES, "help.trainer"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in re.findall(r"\]\((?!http)([^)#]*)(?:#([^)]*))?\)", TEXTS[page.name]):
        file = page.parent / target
        assert file.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.*)", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}, anchor


@pytest.mark.parametrize("command", commands.COMMANDS)
def test_the_page_of_options_and_the_help_are_what_the_parser_says(command: str) -> None:
    parser = GENERATOR["parser_of"](command)
    said = "run: python docs/generate_options.py"
    assert help_text(parser) == shipped([command, "--help"]), said
    if command == "fit":
        assert GENERATOR["options_page"](parser) == TEXTS["options.md"], said


def test_the_page_of_options_has_every_option() -> None:
    listed = set(re.findall(r"^\| `--([\w.]+)`", TEXTS["options.md"], flags=re.MULTILINE))
    assert listed == OPTIONS.keys() - {"verbose"}  # which fit does not have


def test_cleanlab_gets_what_it_asks_for(
    reported: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given: dict[str, np.ndarray] = {}

    def find_label_issues(labels: np.ndarray, pred_probs: np.ndarray, return_indices_ranked_by: str) -> list[int]:
        given.update(labels=labels, probabilities=pred_probs)
        return [3]

    fake = ModuleType("cleanlab.filter")
    monkeypatch.setattr(fake, "find_label_issues", find_label_issues, raising=False)
    monkeypatch.setitem(sys.modules, "cleanlab", ModuleType("cleanlab"))
    monkeypatch.setitem(sys.modules, "cleanlab.filter", fake)
    monkeypatch.chdir(reported.parents[1])
    [example] = blocks("python", TEXTS["report.md"])
    exec(compile(example, "report.md", "exec"), {})
    assert given["labels"].tolist() == [0] * 6 + [1] * 6 + [2] * 6
    assert given["probabilities"].shape == (18, 3)
    assert given["probabilities"].sum(axis=1) == pytest.approx(np.ones(18))
    assert capsys.readouterr().out == "val/angry/03.png\n"


@pytest.mark.parametrize(
    ("page", "written"), [("README.md", "report/index.html"), ("python.md", "checkpoints/best.ckpt")]
)
@pytest.mark.usefixtures("in_an_empty_folder")
def test_the_python_example_runs(page: str, written: str, faces: Path) -> None:
    example = "\n".join(block for block in blocks("python", TEXTS[page]) if "optuna" not in block)
    smaller = {
        'root="faces/"': f"root={str(faces)!r}, num_workers=0",
        "image_size=224, batch_size=16": "image_size=32, batch_size=8",
        "class_names=data.class_names": 'class_names=data.class_names, backbone="test_resnet", pretrained=False',
        "max_epochs=80": "max_epochs=1, accelerator='cpu'",
    }
    if page == "README.md":
        smaller |= {'"faces/test/happy/00.png"': repr(str(faces / "test/happy/00.png"))}
    if page == "python.md":
        smaller |= {"224, 224": "32, 32", "Trainer(max_epochs=1)": "Trainer(max_epochs=1, accelerator='cpu')"}
    for given, small in smaller.items():
        assert given in example
        example = example.replace(given, small)
    exec(compile(example.replace('precision="16-mixed"', 'precision="32-true"'), page, "exec"), {})
    assert (RUN / written).is_file()


def test_the_search_with_optuna_runs(lab: Lab, in_an_empty_folder: None) -> None:
    pytest.importorskip("optuna")
    [example] = [block for block in blocks("python", TEXTS["python.md"]) if "optuna" in block]
    for given, small in (
        ("data.class_names,", 'data.class_names, backbone="test_resnet", pretrained=False,'),
        ("max_epochs=3", "max_epochs=1, accelerator='cpu'"),
        ("n_trials=20", "n_trials=2"),
    ):
        assert given in example
        example = example.replace(given, small)
    names: dict[str, Any] = {"data": lab.data(), "EmotionClassifier": EmotionClassifier, "Trainer": Trainer}
    names["default_callbacks"] = default_callbacks
    exec(compile(example, "python.md", "exec"), names)
    assert len(names["study"].trials) == 2
    assert 0 <= names["study"].best_value <= 1


def test_the_examples_of_predicting_run(
    with_runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(with_runs)
    shutil.copy("faces/test/happy/00.png", "face.jpg")
    main(["predict", "--ckpt_path", "best.ckpt", "faces/test", "--output", "answers.jsonl", "--format", "deepface"])
    as_deepface, ours = blocks("python", TEXTS["predict.md"])
    found: dict[str, Any] = {}
    exec(compile(as_deepface, "predict.md", "exec"), found)
    assert len(found["emotions"]) == 18
    capsys.readouterr()
    exec(compile(ours, "predict.md", "exec"), {})
    printed = capsys.readouterr().out
    assert "face.jpg: " in printed
    assert "gone.jpg None nan {} No such file or directory" in printed


def test_the_example_of_a_photograph_runs(
    with_runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("cv2")
    monkeypatch.chdir(with_runs)
    Image.new("RGB", (800, 600), (90, 120, 200)).save("photo.jpg")
    [example] = blocks("python", TEXTS["demo.md"])
    exec(compile(example, "demo.md", "exec"), {})
    assert capsys.readouterr().out == "None None nan no face\n"
