"""Several machines: each process of torchrun's on the loopback stands for one."""

import os
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from emotion_lightning.cli import main

CLUSTER = Path(__file__).parents[1] / "configs" / "cluster"
CONFIG = {
    "data": {"image_size": 32, "batch_size": 4, "num_workers": 0},
    "model": {"backbone": "test_resnet", "pretrained": False, "hidden_features": 16},
    "unfreeze": {"schedule": {0: "classifier", 1: "all"}},
    "trainer": {
        "max_epochs": 2,
        "accelerator": "cpu",
        "devices": 1,
        "num_nodes": 2,
        "enable_progress_bar": False,
        "precision": "32-true",
    },
    "report": {"write": False},
}
SCRIPT = """
import os
import sys
import torch
from lightning.pytorch import Callback
from emotion_lightning.cli import main, training
from emotion_lightning.cli.app import EmotionCLI
from emotion_lightning.errors import DataError

output, harmed, *args = sys.argv[1:]
stat = os.stat
if harmed == "files" and os.environ["RANK"] == "1":  # this machine has another file of that name
    os.stat = lambda path, **how: stat("script.py" if str(path).endswith("happy/00.png") else path, **how)

class Watch(Callback):
    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if str(trainer.global_rank) == harmed and trainer.current_epoch == 1:
            raise DataError("a.png: truncated")

    def on_train_end(self, trainer, pl_module):
        torch.save(dict(pl_module.named_parameters()), f"{output}/rank{trainer.global_rank}.pt")

class Watched(EmotionCLI):
    def instantiate_trainer(self, **kwargs):
        self.trainer_defaults["callbacks"].append(Watch())
        return super().instantiate_trainer(**kwargs)

training.EmotionCLI = Watched
main(args)
"""


def on_two_machines(folder: Path, roots: tuple[Path, Path], harmed: str = "none") -> tuple[list[int], list[str]]:
    """Fit on ``roots``, each the data of one machine; return the statuses and what each said."""
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    (folder / "script.py").write_text(SCRIPT)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc_per_node", "1"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PL_", "LOCAL_RANK"))}
    machines = [
        subprocess.Popen(
            [*torchrun, "--node_rank", str(rank), "--master_addr", "127.0.0.1", "--master_port", port, "script.py",
             str(folder), harmed, "fit", "--data.root", str(root), "--config", "config.yaml"],
            cwd=folder, env=environment | {"OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE, text=True,
        )
        for rank, root in enumerate(roots)
    ]  # fmt: skip
    try:
        said = [machine.communicate(timeout=240)[1] for machine in machines]
    finally:
        for machine in machines:
            machine.kill()
    return [machine.returncode for machine in machines], said


def errors(said: str) -> list[str]:
    """What our own processes say; torchrun adds a traceback of its own."""
    return [line for line in said.splitlines() if line.startswith("error: ")]


@pytest.mark.slow
def test_two_machines_of_one_process_train_the_same_weights(faces: Path, tmp_path: Path) -> None:
    statuses, said = on_two_machines(tmp_path, (faces, faces))
    assert statuses == [0, 0], said
    first, second = (torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in (0, 1))
    assert first
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert (tmp_path / "lightning_logs/version_0/checkpoints/last.ckpt").is_file()
    assert not (tmp_path / "lightning_logs/version_1").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("root", "harmed", "why"),
    [("nowhere", "none", "nowhere does not exist"), ("", "files", "process 1 of the run sees other data")],
)
def test_data_that_one_machine_does_not_have_ends_both_with_one_line(
    faces: Path, tmp_path: Path, root: str, harmed: str, why: str
) -> None:
    statuses, said = on_two_machines(tmp_path, (faces, tmp_path / root if root else faces), harmed)
    assert 0 not in statuses
    assert [len(errors(each)) for each in said] == [1, 1], said
    assert all(why in errors(each)[0] for each in said)
    assert not any("RuntimeError" in each for each in said)


@pytest.mark.slow
@pytest.mark.parametrize("harmed", ["0", "1"])
def test_an_error_of_one_process_within_training_ends_both_with_one_line(
    faces: Path, tmp_path: Path, harmed: str
) -> None:
    statuses, said = on_two_machines(tmp_path, (faces, faces), harmed)
    assert 0 not in statuses
    assert [len(errors(each)) for each in said] == [1, 1], said
    assert all("a.png: truncated" in errors(each)[0] for each in said)
    assert not any("RuntimeError" in each for each in said)


@pytest.mark.parametrize("script", sorted(CLUSTER.iterdir()), ids=lambda path: path.name)
@pytest.mark.usefixtures("in_an_empty_folder")
def test_the_commands_of_the_cluster_scripts_are_understood(
    script: Path, faces: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = shlex.split(script.read_text().replace("\\\n", " "), comments=True)
    args = words[words.index("fit") :]
    with pytest.raises(SystemExit) as stopped:
        main([*args, "--trainer.accelerator", "cpu", "--data.root", str(faces), "--print_config"])
    assert stopped.value.code == 0
    found = yaml.safe_load(capsys.readouterr().out)["trainer"]
    assert (int(found["devices"]), found["num_nodes"]) == (4, 2)
    assert shutil.which("bash") is None or subprocess.run(["bash", "-n", script], check=False).returncode == 0
