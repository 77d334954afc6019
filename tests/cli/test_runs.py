"""Runs as a user meets them: named, listed, found again, interrupted and over."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from lightning.pytorch import Callback, LightningModule, Trainer

from emotion_lightning.cli import main, training
from emotion_lightning.cli.app import EmotionCLI
from emotion_lightning.runs.history import write_history
from emotion_lightning.runs.temporary import owner
from tests.helpers import QUIET, RUN, TINY, fails

pytestmark = pytest.mark.usefixtures("in_an_empty_folder")


def outline(folder: str, start: dict[str, str], f1: dict[int, float], **model: float) -> Path:
    """Write the small files of a run of 5 epochs."""
    run = Path("lightning_logs") / folder
    run.mkdir(parents=True)
    config = {"data": {"root": "faces"}, "model": model, "trainer": {"max_epochs": 5}, "seed_everything": 1}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    (run / "provenance.json").write_text(json.dumps([start]))
    write_history(run, {epoch: {"val/f1_macro": value, "train/loss": 1.0} for epoch, value in f1.items()})
    return run


def test_runs_are_listed_with_what_differs_and_how_far_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    tested = outline("b", {"started": "2026-01-01", "ended": "finished"}, {0: 0.25, 1: 0.5, 2: 0.4}, eps=0.1)
    (tested / "report/test").mkdir(parents=True)
    (tested / "report/test/metrics.json").write_text('{"f1_macro": 0.45}')
    outline("a", {"started": "2026-01-02", "process": owner()}, {0: 0.3}, eps=0.1)
    gone = owner().split(".")[0] + ".999999999.1"
    outline("c", {"started": "2026-01-03", "process": gone}, {0: 0.3, 1: 0.2}, eps=0.2)
    (outline("d", {"started": "2026-01-04"}, {}, eps=0.1) / "provenance.json").write_text("[")
    (Path("lightning_logs") / "empty").mkdir()
    main(["runs"])
    printed = capsys.readouterr().out
    rows = [[cell.strip() for cell in row.split("  ") if cell.strip()] for row in printed.splitlines()]
    assert rows[0] == ["run", "data", "macro F1", "what differs", "state"]
    assert rows[1] == ["b", "faces", "val 0.5000, test 0.4500", "eps 0.1", "finished after 3 epochs"]
    assert rows[2] == ["a", "faces", "val 0.3000", "eps 0.1", "running, 1 of 5 epochs"]
    assert rows[3] == ["c", "faces", "val 0.3000", "eps 0.2", "interrupted after 2 of 5 epochs"]
    assert rows[4][0] == "d"
    assert "provenance.json is damaged" in rows[4][-1]
    assert len(rows) == 5
    main(["runs", "lightning_logs"])
    assert capsys.readouterr().out == printed
    Path("nothing").mkdir()
    assert "there are no runs; give the folder that has lightning_logs" in fails(capsys, 2, "runs", "nothing")


def test_listing_runs_needs_no_torch() -> None:
    outline("a", {"started": "2026-01-01", "ended": "finished"}, {0: 0.25})
    program = "import sys; from emotion_lightning.cli import main; main(['runs']); print(*sys.modules)"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert "finished after 1 epochs" in shown
    assert not {"torch", "lightning", "numpy"} & set(shown.splitlines()[-1].split())


def test_a_run_has_its_name_everywhere_and_is_found_by_it(
    faces: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    named = ["fit", "--data.root", str(faces), *TINY, "--trainer.enable_progress_bar", "false", "--name", "lr3e-4"]
    main(named)
    run = Path("lightning_logs/lr3e-4")
    assert {path.name for path in Path("lightning_logs").iterdir()} == {"lr3e-4"}
    assert "<title>lr3e-4</title>" in (run / "report/index.html").read_text()
    assert list(run.glob("events.out.tfevents.*"))
    assert "\nname" not in (run / "config.yaml").read_text()  # which another run may begin with
    assert json.loads((run / "provenance.json").read_text())[-1]["ended"] == "finished"
    said = fails(capsys, 2, *named)
    assert "--name lr3e-4: there is a run of that name, lightning_logs/lr3e-4" in said
    assert "--ckpt_path lr3e-4" in said
    assert "cannot name a run" in fails(capsys, 2, *named[:-1], "../x")
    assert "--name is for a new run" in fails(capsys, 2, *named, "--ckpt_path", "last")
    logger = ["--trainer.logger", "CSVLogger", "--trainer.logger.save_dir", "."]
    assert "give its version instead" in fails(capsys, 2, *named[:-1], "other", *logger)
    for given in ("lr3e-4", str(run), "best"):
        main(["test", "--ckpt_path", given, *QUIET])
        assert (run / "report/test/metrics.json").is_file()
        shutil.rmtree(run / "report/test")
        main(["report", given])
    main(["predict", "--ckpt_path", "lr3e-4", str(faces / "test/happy/00.png"), "--output", "answers.csv"])
    main(["runs"])
    assert "lr3e-4" in capsys.readouterr().out


def test_a_job_that_is_queued_again_goes_on_with_the_run_of_its_name(trained: Path, faces: Path) -> None:
    RUN.rename("lightning_logs/job")
    shutil.copytree("lightning_logs/job", "lightning_logs/newer")
    checkpoints = Path("lightning_logs/job/checkpoints")
    shutil.copy(checkpoints / "epoch_000.ckpt", checkpoints / "last.ckpt")
    job = ["fit", "--data.root", str(faces), *TINY, *QUIET, "--resume", "auto", "--name"]
    main([*job, "job"])
    assert torch.load(checkpoints / "last.ckpt", weights_only=True)["epoch"] == 2
    Path("lightning_logs/begun").mkdir()  # killed before its first checkpoint
    Path("lightning_logs/begun/config.yaml").write_text("of: that start\n")
    main([*job, "begun", "--trainer.limit_train_batches", "2"])
    assert Path("lightning_logs/begun/checkpoints/last.ckpt").is_file()
    config = yaml.safe_load(Path("lightning_logs/begun/config.yaml").read_text())
    assert config["trainer"]["limit_train_batches"] == 2


def test_a_run_that_is_over_says_so_and_trains_nothing(
    trained: Path, faces: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in RUN.rglob("*") if path.is_file()}
    main(["fit", "--ckpt_path", "version_0", *QUIET])
    said = capsys.readouterr().out
    assert "version_0 is over: it has trained its 3 epochs, and nothing is left to train" in said
    assert f"fit --config {RUN}/config.yaml --trainer.max_epochs N" in said
    assert {path: path.read_bytes() for path in RUN.rglob("*") if path.is_file()} == before
    shutil.rmtree(RUN / "report")  # as if killed before it was measured
    main(["fit", "--ckpt_path", "last", *QUIET])
    assert (RUN / "report/val/metrics.json").is_file()
    main(["fit", "--ckpt_path", "last", *QUIET, "--report.write", "true"])  # as if killed before its report
    assert (RUN / "report/index.html").is_file()


def test_a_run_that_was_stopped_early_trains_nothing_more(faces: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stopping = [
        "--early_stopping.patience",
        "1",
        "--early_stopping.min_delta",
        "0.9",
        "--unfreeze.schedule",
        "{0: all}",
    ]
    main(["fit", "--data.root", str(faces), *TINY, *stopping, "--trainer.max_epochs", "9", *QUIET])
    assert json.loads((RUN / "provenance.json").read_text())[-1]["ended"] == "stopped early"
    capsys.readouterr()
    last = RUN / "checkpoints/last.ckpt"
    trained = torch.load(last, weights_only=True)["epoch"]
    main(["fit", "--ckpt_path", "last", *QUIET])
    assert "stopped early after 2 epochs, 1 of them without a gain" in capsys.readouterr().out
    shutil.rmtree(RUN / "report")
    main(["fit", "--ckpt_path", "last", *QUIET])
    assert torch.load(last, weights_only=True)["epoch"] == trained == 1


class Stop(Callback):
    """Sends a signal in the second epoch."""

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: object, batch_idx: int) -> None:
        if trainer.current_epoch == 1 and batch_idx == 2:
            signal.raise_signal(signal.SIGTERM)


def test_an_interrupted_run_gets_the_report_of_its_best_so_far(
    faces: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Interrupted(EmotionCLI):
        def instantiate_trainer(self, **kwargs: object) -> Trainer:
            self.trainer_defaults["callbacks"].append(Stop())
            return super().instantiate_trainer(**kwargs)

    monkeypatch.setattr(training, "EmotionCLI", Interrupted)
    quiet = ["--trainer.enable_progress_bar", "false"]
    with pytest.raises(SystemExit) as stopped:
        main(["fit", "--data.root", str(faces), *TINY, *quiet])
    assert stopped.value.code == 143
    assert json.loads((RUN / "report/report.json").read_text())["best_epoch"] == 0
    assert torch.load(RUN / "checkpoints/last.ckpt", weights_only=True)["global_step"] == 9
    capsys.readouterr()
    main(["runs"])
    assert "running, 1 of 3 epochs" in capsys.readouterr().out  # this process has not ended
