"""The command predict: every picture gets its row, and what cannot be done is said in a line."""

import csv
import json
import subprocess
import sys
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest
import torch

import emotion_lightning
from emotion_lightning.cli import main
from tests.helpers import CLASSES, RUN, fails

pytestmark = pytest.mark.usefixtures("in_an_empty_folder")


@pytest.fixture
def best(finished: Path) -> str:
    return str(finished / RUN / "checkpoints/best.ckpt")


@pytest.fixture
def pictures(faces: Path, in_an_empty_folder: None) -> Path:
    """A folder of pictures in folders, of which one is broken."""
    Path("faces").mkdir()
    for name in CLASSES:
        (Path("faces") / name).symlink_to(faces / "val" / name)
    Path("faces/broken.jpg").write_bytes(b"nothing")
    return Path("faces")


def rows(file: str) -> list[dict[str, str]]:
    with open(file, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_every_picture_below_a_folder_has_a_row(
    best: str, pictures: Path, faces: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["predict", "--ckpt_path", best, "faces", "--output", "out/answers.csv"])
    found = rows("out/answers.csv")
    files = sorted(str(path) for name in CLASSES for path in pictures.glob(f"{name}/*.png"))
    assert [row["path"] for row in found] == sorted([*files, "faces/broken.jpg"])
    assert list(found[0]) == ["path", "predicted", "probability", "box", *CLASSES, "error"]
    predictor = emotion_lightning.load(best, "cpu")
    for row in found:
        if row["path"] == "faces/broken.jpg":
            assert row["error"] == "not a JPEG, PNG, BMP, WEBP or TIFF image"
            assert {row["predicted"], row["probability"], *(row[name] for name in CLASSES)} == {""}
        else:
            answer = predictor.predict(row["path"])
            assert (row["predicted"], row["error"]) == (answer.label, "")
            assert [float(row[name]) for name in CLASSES] == pytest.approx([*answer.probabilities.values()], abs=1e-6)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "Wrote out/answers.csv: 19 pictures, " in printed.err
    assert "a second; 1 without an answer" in printed.err


def test_answers_go_to_standard_output_alone(best: str, pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["predict", "--ckpt_path", best, "faces/happy", "gone.jpg", "--batch_size", "4"])
    printed = capsys.readouterr()
    found = list(csv.DictReader(printed.out.splitlines()))
    assert [row["path"] for row in found] == [*map(str, sorted(pictures.glob("happy/*.png"))), "gone.jpg"]
    assert found[-1]["error"] == "No such file or directory"
    main(["predict", "--ckpt_path", best, "faces/happy", "gone.jpg", "--batch_size", "3", "--output", "-"])
    assert [row["path"] for row in csv.DictReader(capsys.readouterr().out.splitlines())] == [r["path"] for r in found]


def test_a_list_comes_on_standard_input(
    best: str, pictures: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = "\n".join(["faces/happy/00.png", "faces/broken.jpg", "faces/angry/01.png"])
    monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(listed.encode())))
    main(["predict", "-", "--ckpt_path", best, "--format", "fer"])
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)[0]["path"] for line in lines] == listed.split("\n")
    monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO()))
    assert "no picture was named" in fails(capsys, 1, "predict", "-", "--ckpt_path", best)
    assert "goes with no other paths" in fails(capsys, 2, "predict", "-", "faces", "--ckpt_path", best)


def test_a_file_that_exists_is_replaced_only_if_asked_for(
    best: str, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("mine.csv").write_text("years of work")
    args = ["predict", "--ckpt_path", best, "faces/happy", "--output", "mine.csv"]
    assert "--output mine.csv exists; give --overwrite to replace it" in fails(capsys, 2, *args)
    assert Path("mine.csv").read_text() == "years of work"
    main([*args, "--overwrite"])
    assert len(rows("mine.csv")) == 6


def test_a_line_of_a_table_that_is_too_short_is_a_row_with_its_reason(
    best: str, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("list.csv").write_text("label,path\nhappy,faces/happy/00.png\nsad\nsad,\n")
    main(["predict", "--ckpt_path", best, "list.csv", "--output", "answers.csv"])
    assert [(row["path"], row["error"]) for row in rows("answers.csv")] == [
        ("faces/happy/00.png", ""),
        ("list.csv line 3", "the line is too short to have a path"),
    ]
    assert "list.csv: 1 line without a path left out" in capsys.readouterr().err


def test_a_link_that_leads_nowhere_is_not_replaced(
    best: str, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("link.csv").symlink_to("nowhere/answers.csv")
    args = ["predict", "--ckpt_path", best, "faces/happy", "--output", "link.csv"]
    assert "--output link.csv exists; give --overwrite to replace it" in fails(capsys, 2, *args)
    assert Path("link.csv").is_symlink()


def test_names_that_begin_with_a_tilde_are_no_traceback(best: str, pictures: Path) -> None:
    Path("~x.png").write_bytes(Path("faces/happy/00.png").read_bytes())
    main(["predict", "--ckpt_path", best, ".", "--output", "~answers.csv"])
    assert {row["path"]: row["error"] for row in rows("~answers.csv")}["~x.png"] == ""


def test_the_views_that_are_averaged_may_be_chosen(best: str, pictures: Path) -> None:
    for tta in ("none", "flip"):
        main(["predict", "--ckpt_path", best, "faces/happy/00.png", "--tta", tta, "--output", f"{tta}.csv"])
        [row] = rows(f"{tta}.csv")
        answer = emotion_lightning.load(best, "cpu", tta=tta).predict("faces/happy/00.png")
        assert float(row["happy"]) == pytest.approx(answer.probabilities["happy"], abs=1e-6)
    assert rows("none.csv") != rows("flip.csv")


@pytest.mark.parametrize(
    ("args", "status", "said"),
    [
        ([], 2, "predict needs pictures: files, folders, patterns, CSV files, or - for a list on standard input"),
        (["gone.jpg"], 1, "gone.jpg: no such file or folder"),
        (["empty"], 1, "empty holds no images"),
        (["faces/broken.jpg"], 1, "no picture has an answer; the first: faces/broken.jpg: not a JPEG"),
        (["faces", "--output", "empty"], 2, "--output empty is a folder"),
        (["faces", "--output", "a.txt"], 2, "--output a.txt must end in .csv or .jsonl or .parquet"),
        (["faces", "--output", "faces/broken.jpg/a.csv"], 1, "cannot write to faces/broken.jpg"),
        (["faces", "--format", "xml"], 2, "--format 'xml' is none of csv,"),
        (["faces", "--device", "gpu"], 2, "--device gpu is none: give cuda, mps, cpu"),
        (["faces", "--batch_size", "0"], 2, "--batch_size 0 is too small"),
        (["faces", "--tta", "much"], 2, "--tta 'much' is none of none, flip, tencrop"),
        (["faces", "--btch_size", "3"], 2, "did you mean --batch_size?"),
        (["--data.root", "faces"], 2, "predict has no --data.root: it takes the pictures themselves, as in python -m"),
        (["faces", "--trainer.devices=1"], 2, "predict has no --trainer.devices: it takes the pictures themselves"),
        (["faces", "--predict.precision", "0.9"], 2, "predict has no --predict.precision: it takes"),
        (["faces", "--config", "a.yaml"], 2, "predict has no --config: it takes"),
    ],
)
@pytest.mark.usefixtures("pictures")
def test_what_cannot_be_done_is_said_in_a_line(
    best: str, args: list[str], status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("empty").mkdir()
    message = fails(capsys, status, "predict", "--ckpt_path", best, *args)
    assert said in message
    assert message.count("\n") == 1


def test_a_checkpoint_is_needed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "predict needs --ckpt_path, such as a run's best.ckpt" in fails(capsys, 2, "predict", "faces")
    Path("a.png").touch()
    assert "--ckpt_path gone.ckpt: no such file" in fails(capsys, 1, "predict", "a.png", "--ckpt_path", "gone.ckpt")
    torch.save({"model": {}}, "other.ckpt")
    said = "--ckpt_path other.ckpt: not a checkpoint of an emotion_lightning run"
    assert said in fails(capsys, 1, "predict", "a.png", "--ckpt_path", "other.ckpt")


def test_rows_without_an_answer_are_written_even_if_there_is_no_other(
    best: str, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fails(capsys, 1, "predict", "--ckpt_path", best, "faces/broken.jpg", "--output", "answers.csv")
    assert [row["path"] for row in rows("answers.csv")] == ["faces/broken.jpg"]


@pytest.mark.slow
def test_who_reads_may_stop_before_the_end(best: str, pictures: Path) -> None:
    command = [sys.executable, "-m", "emotion_lightning", "predict", "--ckpt_path", best, "--batch_size", "1"]
    program = subprocess.Popen(
        [*command, *["faces/happy/00.png"] * 2000], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert program.stdout is not None
    assert program.stdout.readline().startswith("path,predicted")
    program.stdout.close()
    assert program.stderr is not None
    assert program.stderr.read() == ""
    assert program.wait() == 128 + 13
