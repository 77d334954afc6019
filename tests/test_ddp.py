"""Two processes on one machine; each test starts them itself, because a process group cannot be shared."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.helpers import assert_equal

SCRIPT = """
import sys
import torch
from lightning.pytorch import Callback, Trainer
from emotion_lightning.callbacks import EMA, RunCheckpoint, EarlyStopping, Unfreeze
from emotion_lightning.data.datamodule import EmotionDataModule
from emotion_lightning.model.module import EmotionClassifier

root, output, strategy, batch_norm = sys.argv[1:]
torch.manual_seed(0)

class Save(Callback):
    def on_train_epoch_end(self, trainer, pl_module):
        state = {name: value.clone() for name, value in pl_module.named_parameters()}
        torch.save(state, f"{output}/rank{trainer.global_rank}_epoch{trainer.current_epoch}.pt")

data = EmotionDataModule(root=root, image_size=32, batch_size=4, num_workers=0, unfreeze_epoch=1)
model = EmotionClassifier(
    data.class_names, backbone="test_resnet", pretrained=False, batch_norm=batch_norm, hidden_features=16,
    lr_backbone=1e-3, lr_classifier=1e-2,
)
torch.save(model.state_dict(), f"{output}/start.pt")
trainer = Trainer(
    accelerator="cpu", devices=2, strategy=strategy, max_epochs=3, gradient_clip_val=1.0, logger=False,
    enable_progress_bar=False, enable_model_summary=False, default_root_dir=output,
    callbacks=[
        Unfreeze({0: "classifier_only", 1: "layer4", 2: "all"}), EMA(0.9), EarlyStopping(), RunCheckpoint(), Save()
    ],
)
trainer.fit(model, data)
torch.save(model.val_outputs.outputs().confusion, f"{output}/confusion{trainer.global_rank}.pt")
torch.save(model.state_dict(), f"{output}/end{trainer.global_rank}.pt")
"""


def start(faces: Path, output: Path, strategy: str, batch_norm: str = "train") -> subprocess.CompletedProcess[str]:
    script = output / "script.py"
    script.write_text(SCRIPT)
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PL_", "LOCAL_RANK"))}
    return subprocess.run(
        [sys.executable, str(script), str(faces), str(output), strategy, batch_norm],
        capture_output=True, text=True, timeout=300, check=False, env=environment | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("batch_norm", ["train", "frozen"])
def test_ranks_keep_identical_weights_across_an_unfreezing(faces: Path, tmp_path: Path, batch_norm: str) -> None:
    done = start(faces, tmp_path, "ddp_find_unused_parameters_true", batch_norm)
    assert done.returncode == 0, done.stderr[-2000:]
    previous = None
    for epoch in range(3):
        first, second = (torch.load(tmp_path / f"rank{rank}_epoch{epoch}.pt", weights_only=True) for rank in (0, 1))
        assert all(torch.equal(first[name], second[name]) for name in first), f"ranks differ after epoch {epoch}"
        if previous is not None:
            moved = {name for name in first if not torch.equal(first[name], previous[name])}
            assert any("layer4" in name for name in moved)
            assert any("layer1" in name for name in moved) == (epoch == 2)
        previous = first
    confusions = [torch.load(tmp_path / f"confusion{rank}.pt", weights_only=True) for rank in (0, 1)]
    assert torch.equal(*confusions)
    assert confusions[0].sum() == 18  # every validation image once, though 9 a rank fill no batch of 8
    first, second = (torch.load(tmp_path / f"end{rank}.pt", weights_only=True) for rank in (0, 1))
    assert all(torch.equal(first[name], second[name]) for name in first)
    before = torch.load(tmp_path / "start.pt", weights_only=True)
    statistics = [name for name in before if name.startswith("backbone") and "running_" in name]
    assert statistics
    last = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    moved = [name for name in statistics if not torch.equal(last[name], before[name])]
    assert moved == ([] if batch_norm == "frozen" else statistics)


@pytest.mark.slow
def test_a_strategy_that_would_leave_unfrozen_stages_apart_is_refused(faces: Path, tmp_path: Path) -> None:
    done = start(faces, tmp_path, "ddp")
    assert done.returncode != 0
    assert "stages unfrozen later need `strategy=ddp_find_unused_parameters_true`" in done.stderr


@pytest.mark.slow
def test_the_command_line_chooses_the_strategy_that_follows_unfreezing(faces: Path, tmp_path: Path) -> None:
    command = [
        *("fit", "--data.root", str(faces), "--data.image_size", "32", "--data.batch_size", "4"),
        *("--model.backbone", "test_resnet", "--model.pretrained", "false", "--trainer.max_epochs", "2"),
        *("--unfreeze.schedule", "{0: classifier, 1: all}", "--trainer.accelerator", "cpu", "--trainer.devices", "2"),
        *("--trainer.enable_progress_bar", "false"),
    ]  # fmt: skip
    run = [sys.executable, "-m", "emotion_lightning"]
    fit = subprocess.run([*run, *command], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert fit.returncode == 0, fit.stderr[-2000:]
    folder = tmp_path / "lightning_logs" / "version_0"
    assert (folder / "config.yaml").is_file()
    test = ["test", "--ckpt_path", str(folder / "checkpoints" / "best.ckpt"), "--trainer.accelerator", "cpu"]
    results = []
    for devices in ("1", "2"):
        subprocess.run(
            [*run, *test, "--trainer.devices", devices], cwd=tmp_path, capture_output=True, timeout=300, check=True
        )
        results.append(json.loads((folder / "report/test/metrics.json").read_text()))
    assert results[0]["n"] == results[1]["n"] == 18
    assert results[0]["per_class"] == results[1]["per_class"]
    assert results[0]["loss"] == pytest.approx(results[1]["loss"], rel=1e-5)

    shutil.copytree(faces / "val", tmp_path / "other")  # without splits, so that only other data is measured whole
    limited = ["--data.eval_batch_size", "4", "--trainer.limit_test_batches", "2"]  # of each process
    for more, images in (([], 18), (limited, 16)):
        other = [*test, "--data.root", "other", "--trainer.devices", "2", *more]
        subprocess.run([*run, *other], cwd=tmp_path, capture_output=True, timeout=300, check=True)
        found = json.loads((folder / "report/test-other/metrics.json").read_text())
        assert (found["n"], found["of"], found["other_data"]) == (images, 18, True)
        assert {row["support"] for row in found["per_class"].values()} <= {5, 6}


GLOBAL_BATCH = """
import sys
import torch
from lightning.pytorch import Callback, Trainer
from emotion_lightning.callbacks import Unfreeze
from emotion_lightning.data.datamodule import EmotionDataModule
from emotion_lightning.model.module import EmotionClassifier

root, output, processes, batch_norm = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]

class Losses(Callback):
    def __init__(self):
        self.losses = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.losses.append(trainer.strategy.reduce(outputs["loss"].clone(), reduce_op="mean").item())

torch.manual_seed(0)
data = EmotionDataModule(root=root, image_size=32, batch_size=8 // processes, num_workers=0, unfreeze_epoch=1)
model = EmotionClassifier(
    data.class_names, backbone="test_resnet", pretrained=False, batch_norm=batch_norm, head="linear", mix_prob=0.0,
    dropout_rate=0.0, lr_backbone=1e-3, lr_classifier=1e-2,
)
losses = Losses()
trainer = Trainer(
    accelerator="cpu", devices=processes, max_epochs=2, gradient_clip_val=1.0, logger=False, default_root_dir=output,
    strategy="ddp_find_unused_parameters_true" if processes > 1 else "auto", enable_checkpointing=False,
    enable_progress_bar=False, enable_model_summary=False, callbacks=[Unfreeze({0: "classifier", 1: "all"}), losses],
)
trainer.fit(model, data)
if trainer.is_global_zero:
    torch.save(torch.tensor(losses.losses, dtype=torch.double), f"{output}/losses{processes}.pt")
"""


@pytest.mark.slow
@pytest.mark.parametrize("batch_norm", ["frozen", "train"])
def test_two_processes_train_as_one_with_the_same_images_in_a_step_does(
    faces: Path, tmp_path: Path, batch_norm: str
) -> None:
    script = tmp_path / "script.py"
    script.write_text(GLOBAL_BATCH)
    for processes in ("1", "2"):
        command = [sys.executable, str(script), str(faces), str(tmp_path), processes, batch_norm]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
    one, two = (torch.load(tmp_path / f"losses{processes}.pt", weights_only=True) for processes in (1, 2))
    assert len(one) == 12
    difference = float((one - two).abs().max())
    print(f"{batch_norm}: losses differ by {difference:.1e} at most")
    assert difference < 1e-5 if batch_norm == "frozen" else difference > 1e-4


@pytest.mark.slow
def test_a_signal_to_all_processes_saves_what_they_go_on_from_together(faces: Path, tmp_path: Path) -> None:
    command = [
        *(sys.executable, "-m", "emotion_lightning", "fit", "--data.root", str(faces), "--data.image_size", "32"),
        *("--data.batch_size", "2", "--data.num_workers", "1", "--model.backbone", "test_resnet"),
        *("--model.pretrained", "false", "--model.lr_backbone", "1e-3", "--trainer.max_epochs", "3"),
        *("--unfreeze.schedule", "{0: classifier, 1: layer4, 2: all}", "--trainer.accelerator", "cpu"),
        *("--trainer.devices", "2", "--trainer.enable_progress_bar", "false", "--report.write", "false"),
    ]  # fmt: skip
    (tmp_path / "whole").mkdir()
    subprocess.run(command, cwd=tmp_path / "whole", capture_output=True, timeout=300, check=True)
    (tmp_path / "run").mkdir()
    started = subprocess.Popen(command, cwd=tmp_path / "run", stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert started.stdout is not None
    for line in started.stdout:
        if "Epoch 2: training" in line:
            os.killpg(started.pid, signal.SIGTERM)
    assert started.wait(timeout=120) == 143
    last = "lightning_logs/version_0/checkpoints/last.ckpt"
    saved = torch.load(tmp_path / "run" / last, weights_only=True)
    assert saved["epoch"] in (0, 1)  # the signal may have come before the first step of the epoch
    subprocess.run([*command, "--ckpt_path", last], cwd=tmp_path / "run", capture_output=True, timeout=300, check=True)
    whole, resumed = (torch.load(tmp_path / name / last, weights_only=True) for name in ("whole", "run"))
    for key in ("state_dict", "raw_state_dict", "optimizer_states", "lr_schedulers", "epoch_so_far"):
        assert_equal(whole[key], resumed[key], key)
