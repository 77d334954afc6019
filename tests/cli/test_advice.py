"""Advice is followed in the situation that it was given in: what was refused is then done."""

import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from emotion_lightning.cli import main
from tests.helpers import CLASSES, QUIET, TINY

pytestmark = pytest.mark.usefixtures("in_an_empty_folder")

RUN = "lightning_logs/version_0"
BEST, LAST = f"{RUN}/checkpoints/best.ckpt", f"{RUN}/checkpoints/last.ckpt"
DRAWN = "fit --trainer.fast_dev_run 1"
FIT, AUDIT = "fit --data.root faces", "audit --data.root faces"
TRY = f"{FIT} --trainer.fast_dev_run 1"
TEST, PREDICT = f"test --ckpt_path {BEST}", f"predict --ckpt_path {BEST}"
PLACE, NET = "--trainer.default_root_dir", "--model.backbone test_res"


def callback(name: str) -> str:
    return f"--trainer.callbacks '[{{class_path: {name}}}]'"


def nothing(faces: Path) -> None:
    """Leave the faces as they are."""


def leak(faces: Path) -> None:
    shutil.copy(faces / "test/happy/00.png", faces / "train/happy/leak.png")


def conflict(faces: Path) -> None:
    shutil.copy(faces / "train/happy/00.png", faces / "train/angry/wrong.png")


def broken(faces: Path) -> None:
    (faces / "train/angry/00.png").write_bytes(b"no image")


def without_test(faces: Path) -> None:
    shutil.rmtree(faces / "test")


def numbered(faces: Path) -> None:
    for split in ("train", "val", "test"):
        for index, name in enumerate(CLASSES, start=1):
            (faces / split / name).rename(faces / split / str(index))


def by_subject(faces: Path) -> None:
    for path in [path for path in faces.rglob("*.png") if path.parent.name in CLASSES]:
        named = path.parent.with_name({"angry": "s1", "happy": "s2", "surprised": "s3"}[path.parent.name])
        (named / f"at{int(path.stem) % 2}").mkdir(parents=True, exist_ok=True)
        path.rename(named / f"at{int(path.stem) % 2}" / path.name)
    for name in CLASSES:
        for split in ("train", "val", "test"):
            (faces / split / name).rmdir()


def lone_table(faces: Path) -> None:
    (faces / "val.csv").write_text("filepath,label\nval/happy/00.png,happy\n")


def within_an_epoch(faces: Path) -> None:
    saved = torch.load(BEST, weights_only=True)
    saved["callbacks"]["Checkpoint"]["within_epoch"] = True
    torch.save(saved, BEST)


def within_the_first_epoch(faces: Path) -> None:
    within_an_epoch(faces)
    Path(LAST).unlink()


def damaged_report(faces: Path) -> None:
    main(words(TEST))
    (Path(RUN) / "report/test/metrics.json").write_text(json.dumps({"split": "test"}))


def not_measured(faces: Path) -> None:
    shutil.rmtree(Path(RUN) / "report")


def without_best(faces: Path) -> None:
    not_measured(faces)
    Path(BEST).unlink()


def a_file_in_the_way(faces: Path) -> None:
    Path("taken").write_text("a file")


def a_table(faces: Path) -> None:
    Path("a.csv").write_text("path,predicted\n")


CASES: list[tuple[Callable[[Path], None], str, str, str]] = [
    (leak, f"{TRY} --data.leaks error", "--data.leaks drop", f"{TRY} --data.leaks drop"),
    (conflict, f"{TRY} --data.conflicts error", "--data.conflicts drop", f"{TRY} --data.conflicts drop"),
    (broken, TRY, "--data.unreadable skip", f"{TRY} --data.unreadable skip"),
    (without_test, TEST, "--data.test_split val", f"{TEST} --data.test_split val"),
    (numbered, TRY, "--data.layout rafdb", f"{TRY} --data.layout rafdb"),
    (by_subject, TRY, "--data.layout tree", f"{TRY} --data.layout tree"),
    (lone_table, TRY, "--data.layout tree", f"{TRY} --data.layout tree"),
    (nothing, f"{TRY} --data.layout fer2013", "--data.layout auto", f"{TRY} --data.layout auto"),
    (nothing, f"{DRAWN} --data.drop_classes '[happy]'", "give --data.root", f"{TRY} --data.drop_classes '[happy]'"),
    (nothing, PREDICT, "needs pictures: files, folders", f"{PREDICT} faces"),
    (nothing, f"{PREDICT} --data.root faces", "predict --ckpt_path best.ckpt faces/", f"{PREDICT} faces"),
    (nothing, f"{PREDICT} faces --output a.txt", "must end in .csv or", f"{PREDICT} faces --output a.csv"),
    (a_table, f"{PREDICT} faces --output a.csv", "give --overwrite", f"{PREDICT} faces --output a.csv --overwrite"),
    (nothing, "test", "needs --ckpt_path, such as a run's best.ckpt", TEST),
    (nothing, "audit", "needs --data.root", "audit --data.root faces"),
    (nothing, TRY.replace("fit", "fti"), "did you mean fit", TRY),
    (nothing, f"{TRY} --modl.eps 1", "did you mean --model.eps", f"{TRY} --model.eps 1"),
    (nothing, f"{TRY} {NET}t", "did you mean test_resnet", f"{TRY} {NET}net"),
    (nothing, f"{FIT} --trainer.max_epochs 0", "give at least 1", f"{FIT} --trainer.max_epochs 1"),
    (nothing, f"{FIT} --trainer.barebones true", "--dry_run", f"{FIT} --dry_run"),
    (nothing, f"{TRY} --dry_run", "leave out --trainer.fast_dev_run", f"{FIT} --dry_run"),
    (nothing, f"{TRY} {callback('emotion_lightning.callbacks.EMA')}", "and use --ema.decay", f"{TRY} --ema.decay 0.5"),
    (nothing, f"{TRY} {callback('EMAWeightAveraging')}", "use --ema.decay", f"{TRY} --ema.decay 0.5"),
    (nothing, f"fit --ckpt_path {LAST} --model.eps 1e-3", "leave the option out", f"fit --ckpt_path {LAST}"),
    (within_an_epoch, f"fit --ckpt_path {BEST}", f"by --ckpt_path {LAST}", f"fit --ckpt_path {LAST}"),
    (within_the_first_epoch, f"fit --ckpt_path {BEST}", f"another folder by {PLACE}", f"{FIT} {PLACE} free"),
    (damaged_report, f"report {RUN}", "measure the checkpoint again", f"{TEST} && report {RUN}"),
    (not_measured, f"report {RUN}", f"python -m emotion_lightning {TEST} does", f"{TEST} && report {RUN}"),
    (without_best, f"report {RUN}", f"test --ckpt_path {LAST} does", f"test --ckpt_path {LAST} && report {RUN}"),
    (a_file_in_the_way, f"{FIT} {PLACE} taken", "another folder by --trainer.default_root_dir", f"{FIT} {PLACE} free"),
    (a_file_in_the_way, f"{AUDIT} --output taken", "another folder by --output", f"{AUDIT} --output free"),
]


@pytest.mark.parametrize(("prepare", "command", "advice", "followed"), CASES, ids=[case[1] for case in CASES])
def test_advice_leads_out(
    faces: Path,
    trained: Path,
    capsys: pytest.CaptureFixture[str],
    prepare: Callable[[Path], None],
    command: str,
    advice: str,
    followed: str,
) -> None:
    ours = shutil.copytree(faces, Path("faces"))
    for saved in (BEST, LAST):
        checkpoint = torch.load(saved, weights_only=True)
        checkpoint["EmotionDataModule"]["root"] = str(ours.resolve())
        torch.save(checkpoint, saved)
    prepare(ours)
    with pytest.raises(SystemExit) as stopped:
        main(words(command))
    assert stopped.value.code in (1, 2)
    assert advice in capsys.readouterr().err
    for line in followed.split(" && "):
        main(words(line))


def words(command: str) -> list[str]:
    """Words of a command, with the options of a small and quiet run."""
    given = shlex.split(command)
    if given[0] in ("audit", "report", "predict") or len(given) == 1:
        return given
    tiny = [] if "--ckpt_path" in given else TINY
    return [given[0], *tiny, *QUIET, *given[1:]]
