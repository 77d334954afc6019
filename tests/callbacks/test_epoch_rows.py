import re
from pathlib import Path

import pytest
from lightning.pytorch import Callback, LightningModule, Trainer

from emotion_lightning.callbacks import EMA, EpochRows, RunCheckpoint, Throughput, Unfreeze
from emotion_lightning.cli import main
from emotion_lightning.runs.history import read_history
from tests.helpers import QUIET, RUN, SCHEDULE, TINY, Lab

TITLES = "epoch  trains            lr  train loss  val loss  accuracy  macro F1      time"
ROW = re.compile(r" *\d+/\d+  (all|from|classifier|-) ")


def rows(text: str) -> list[str]:
    return [line for line in text.splitlines() if ROW.match(line)]


@pytest.mark.usefixtures("in_an_empty_folder")
def test_each_epoch_has_a_row_of_what_was_logged(
    faces: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "lightning.pytorch"):
        main(["fit", "--data.root", str(faces), *TINY, *QUIET])
    said, found = capsys.readouterr().out, read_history(RUN)
    assert said.splitlines().count(TITLES) == 1
    assert len(rows(said)) == 3
    best = float("-inf")
    for epoch, line in enumerate(rows(said)):
        logged = {name: values[epoch] for name, values in found.items() if epoch in values}
        assert len(line) <= len(TITLES) == 79
        cells = re.split(r"\s{2,}", line.strip())
        assert cells[:2] == [f"{epoch + 1}/3", ("classifier", "from layer4", "all")[epoch]]
        assert cells[2] == f"{logged['lr/classifier']:.1e}"
        names = ("train/loss", "val/loss", "val/accuracy", "val/f1_macro")
        assert [cell.rstrip("*") for cell in cells[3:7]] == [f"{logged[name]:.4f}" for name in names]
        assert cells[6].endswith("*") == (logged["val/f1_macro"] > best)
        assert cells[7] == f"{logged['train/epoch_seconds'] + logged['val/epoch_seconds']:.1f} s"
        best = max(best, logged["val/f1_macro"])
    noise = (
        "GPU available",
        "TPU available",
        "Tip:",
        "Loading `train",
        "(AMP)",
        "states",
        "Loaded",
        "stopped:",
        "Seed",
    )
    assert [line for line in caplog.messages if any(part in line for part in noise)] == []
    shares = [re.search(r"training .* \((\S+) of (\S+) M parameters\)", line) for line in caplog.messages]
    first, second, last = [share.groups() for share in shares if share]
    assert float(first[0]) < float(second[0]) < float(last[0]) == float(last[1])


NUMBER = r"0\.\d{4}"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            {"check_val_every_n_epoch": 2},
            [r" +1/3 .*  -  +-  +-  +\S+ s", rf" +2/3 .* {NUMBER}\*  +\S+ s", r" +3/3 .* -  +\S+ s"],
        ),
        (
            {"val_check_interval": 4},
            [rf" +1/3  -  +-  +- .* {NUMBER}\*  +-  at step 4", r" +1/3  classifier .* -  +-  +-  +\S+ s"],
        ),
        ({"max_steps": 9}, [rf" +1/3 .*{NUMBER}\*", r" +2/3 .* -  +\S+ s"]),
        ({"limit_val_batches": 0}, [r" +1/3  classifier +\S+  +\S+  +-  +-  +-  +\S+ s"]),
        ({"limit_val_batches": 1}, ["Validation is of 16 of 18 images"]),
        ({"fast_dev_run": True}, ["Validation is of 16 of 18 images", rf" +1/1  classifier .*{NUMBER}\*"]),
        ({"max_epochs": -1, "max_steps": 6}, [rf" +1  classifier .*{NUMBER}\*"]),
        ({"callbacks": [EpochRows()]}, [rf" +1/3  -  +\S+e-\S+ .*{NUMBER}\*  +-$"]),
    ],
)
def test_a_row_has_what_there_is(
    lab: Lab, capsys: pytest.CaptureFixture[str], options: dict[str, object], expected: list[str]
) -> None:
    callbacks = [EpochRows(), Unfreeze(SCHEDULE), Throughput()]
    lab.trainer(**{"callbacks": callbacks} | options).fit(lab.model(), lab.data())
    said = capsys.readouterr().out.strip().splitlines()
    lines = [line for line in said if line != TITLES]
    assert len(said) == len(lines) + 1  # the titles once
    for line, pattern in zip(lines, expected, strict=False):
        assert re.match(pattern, line)


class Ended(Exception): ...


class End(Callback):
    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.current_epoch == 2:
            raise Ended


def test_a_resumed_run_marks_what_the_whole_run_would(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    def fit(folder: str, checkpoint: str | None = None, *more: Callback) -> list[str]:
        kept = [EpochRows(), Unfreeze(SCHEDULE), EMA(0.9), RunCheckpoint(every_n_epochs=0), *more]
        lab.trainer(folder, callbacks=kept, max_epochs=4).fit(lab.model(), lab.data(), ckpt_path=checkpoint)
        return rows(capsys.readouterr().out)

    whole = fit("whole")
    with pytest.raises(Ended):
        fit("run", None, End())
    assert rows(capsys.readouterr().out) == whole[:2]  # the row of an epoch that ended, whatever comes after it
    assert fit("run", str(lab.folder / "run/checkpoints/last.ckpt")) == whole[2:]
    assert ["*" in line for line in whole[:3]] == [True, False, False]  # else it would show nothing
