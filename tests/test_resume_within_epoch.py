"""A run that is resumed from any batch equals one that was never interrupted, to the bit."""

import shutil
import signal
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import Logger

from emotion_lightning.callbacks import (
    EMA,
    BatchSize,
    Calibration,
    EarlyStopping,
    History,
    RunCheckpoint,
    SaveData,
    Throughput,
    Unfreeze,
)
from emotion_lightning.data.dataset import EpochSampler
from emotion_lightning.errors import UsageError
from emotion_lightning.runs.checkpoint_io import AtomicCheckpointIO
from emotion_lightning.runs.history import read_history
from tests.helpers import SCHEDULE, Lab, assert_equal

ALWAYS = 1e-9
"""Minutes after which every step is late enough for another checkpoint."""

STATES = ("state_dict", "raw_state_dict", "optimizer_states", "lr_schedulers", "EmotionDataModule", "epoch_so_far")
CLOCKS = ("epoch_seconds", "images_per_second")

Row = tuple[int | None, dict[str, float]]


class Rows(Logger):
    """Keeps what is logged, but for times."""

    name, version = "rows", 0

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[Row] = []

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.rows += [(step, {name: value for name, value in metrics.items() if not name.endswith(CLOCKS)})]

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Keep nothing."""


class Snapshots(Callback):
    """Keeps the checkpoints as a kill would leave them after each batch, those of batch 0 as after none."""

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        run = Path(trainer.default_root_dir)
        if run.name == "whole" and trainer.global_step:
            shutil.copytree(run, run.parent / f"after_{trainer.fit_loop.total_batch_idx}")


class Interruption(Callback):
    """Receives a signal in one hook of one batch, counted over all epochs."""

    def __init__(self, number: int, hook: str, at: int) -> None:
        self.number, self.at, self.calls = number, at, 0
        setattr(self, hook, self._count)

    def _count(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        if not trainer.sanity_checking:
            self.calls += 1
            if self.calls == self.at:
                signal.raise_signal(self.number)


def fit(
    lab: Lab,
    folder: str,
    ckpt_path: Path | None = None,
    more: Callback | None = None,
    workers: int = 0,
    minutes: float = 0,
    **options: Any,
) -> Rows:
    """Train; what is logged is returned, also by a run that ends by a signal, as its exception's notes cannot."""
    patient = EarlyStopping(patience=3, min_delta=0.9, start_epoch=2)  # nothing satisfies it, so that it counts
    callbacks = [
        *(Unfreeze(SCHEDULE), EMA(0.9), patient, RunCheckpoint(1, minutes), Calibration(), BatchSize(), SaveData()),
        *(Throughput(), History(), more or Snapshots()),
    ]
    torch.manual_seed(77)  # whatever else was drawn in the meantime
    rows, run = Rows(), {"max_epochs": 3, "log_every_n_steps": 1, "callbacks": callbacks}
    trainer = lab.trainer(folder, **run | {"logger": rows} | options)
    try:
        trainer.fit(lab.model(), lab.data(num_workers=workers), ckpt_path=ckpt_path)
    except SystemExit as end:
        rows.version = end.code  # type: ignore[assignment]
    return rows


def last(folder: Path) -> Path:
    return folder / "checkpoints" / "last.ckpt"


def assert_same(whole: Path, again: Path) -> None:
    for name in ("last.ckpt", "best.ckpt"):
        exists = [(folder / "checkpoints" / name).exists() for folder in (whole, again)]
        assert exists[0] == exists[1], name
        if not exists[0]:  # without a validation there is no best
            continue
        expected, found = (torch.load(f / "checkpoints" / name, weights_only=True) for f in (whole, again))
        for state in STATES:
            assert_equal(expected[state], found[state], f"{name}:{state}")
        for key in expected["callbacks"].keys() - {"Throughput"}:
            assert_equal(expected["callbacks"][key], found["callbacks"][key], f"{name}:{key}")
    histories = [read_history(folder) for folder in (whole, again)]
    assert_equal(*({name: found[name] for name in found if not name.endswith(CLOCKS)} for found in histories))


def assert_resumes(lab: Lab, whole: Path, start: Path, folder: str, rows: list[Row], **options: Any) -> None:
    again = fit(lab, folder, start, **options).rows
    assert_same(whole, lab.folder / folder)
    assert again == rows[-len(again) :]


@pytest.fixture(scope="module")
def whole(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Row]]:
    """The folder of a run with a copy of itself after each of its 18 batches, and what it logged."""
    lab = Lab(faces, tmp_path_factory.mktemp("uninterrupted"))
    rows = fit(lab, "whole", minutes=ALWAYS).rows
    return lab.folder / "whole", rows


@pytest.mark.parametrize("batches", [1, 6, 9, 17])
def test_a_run_resumed_within_an_epoch_equals_an_uninterrupted_one(
    lab: Lab, tmp_path: Path, whole: tuple[Path, list[Row]], batches: int
) -> None:
    folder, rows = whole
    shutil.copytree(folder.parent / f"after_{batches}", tmp_path / "run")
    saved = torch.load(last(tmp_path / "run"), weights_only=True)
    assert (saved["global_step"], saved["EmotionDataModule"]["next_batch"]) == (batches, batches % 6)
    assert_resumes(lab, folder, last(tmp_path / "run"), "run", rows)


def test_a_resume_without_the_place_in_the_order_does_not_equal_it(
    lab: Lab, tmp_path: Path, whole: tuple[Path, list[Row]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, rows = whole
    shutil.copytree(folder.parent / "after_9", tmp_path / "run")
    monkeypatch.setattr(EpochSampler, "resume", lambda sampler, epoch, trained: setattr(sampler, "epoch", epoch))
    with pytest.raises(AssertionError):
        assert_resumes(lab, folder, last(tmp_path / "run"), "run", rows)


SWEEP: list[dict[str, Any]] = [
    *({"workers": workers} for workers in (0, 1, 4)),
    {"precision": "bf16-mixed"},
    {"val_check_interval": 2},
    {"val_check_interval": 4},
    {"val_check_interval": 4, "check_val_every_n_epoch": None},
    {"check_val_every_n_epoch": 2},
    {"accumulate_grad_batches": 2},
    {"accumulate_grad_batches": 4, "workers": 1},
    {"limit_train_batches": 4},
    {"overfit_batches": 4},
    {"reload_dataloaders_every_n_epochs": 1, "workers": 1},
    {"max_steps": 15, "max_epochs": -1},
    {"limit_val_batches": 0},
]


@pytest.mark.slow
@pytest.mark.parametrize(("number", "options"), enumerate(SWEEP), ids=str)
def test_every_batch_of_a_run_is_one_to_resume_from(
    lab: Lab, tmp_path: Path, number: int, options: dict[str, Any]
) -> None:
    rows = fit(lab, "whole", minutes=ALWAYS, **options).rows
    places = sorted(tmp_path.glob("after_*"))
    assert len(places) >= 11
    for place in places[number % 3 :: 3]:  # of each setting a third, each batch in five of them
        assert_resumes(lab, tmp_path / "whole", last(place), place.name, rows, **options)


def test_a_best_checkpoint_from_within_an_epoch_is_resumed(lab: Lab, tmp_path: Path) -> None:
    options = {"val_check_interval": 4, "max_epochs": 2}
    rows = fit(lab, "whole", **options).rows
    best = tmp_path / "after_5" / "checkpoints" / "best.ckpt"
    assert torch.load(best, weights_only=True)["EmotionDataModule"]["next_batch"] == 4
    assert_resumes(lab, tmp_path / "whole", best, "after_5", rows, **options)


def test_a_best_checkpoint_from_within_a_step_is_refused(lab: Lab, tmp_path: Path) -> None:
    options = {"val_check_interval": 3, "accumulate_grad_batches": 2, "max_epochs": 1}
    fit(lab, "whole", **options)
    best = tmp_path / "after_4" / "checkpoints" / "best.ckpt"
    with pytest.raises(UsageError, match=r"best\.ckpt was saved within epoch 1, .*exact: begin a new run"):
        fit(lab, "after_4", best, **options)
    lab.trainer().validate(lab.model(), lab.data(), ckpt_path=best, verbose=False)


INTERRUPTED = [
    (signal.SIGTERM, 143, "on_train_batch_start", 9, 9),
    (signal.SIGINT, 130, "on_before_optimizer_step", 1, 1),
    (signal.SIGHUP, 129, "on_train_batch_end", 6, 6),  # the last of an epoch, before its validation
    (signal.SIGUSR1, 138, "on_validation_batch_start", 3, 12),
    (signal.SIGTERM, 143, "on_train_epoch_end", 2, 12),
    (signal.SIGTERM, 143, "on_train_end", 1, 18),
]


@pytest.mark.parametrize(("number", "status", "hook", "at", "steps"), INTERRUPTED)
def test_a_signal_saves_at_the_end_of_the_step_and_a_resume_goes_on_there(
    lab: Lab, tmp_path: Path, whole: tuple[Path, list[Row]], number: int, status: int, hook: str, at: int, steps: int
) -> None:
    folder, rows = whole
    before = fit(lab, "run", more=Interruption(number, hook, at))
    assert before.version == status
    assert torch.load(last(tmp_path / "run"), weights_only=True)["global_step"] == steps
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) == signal.default_int_handler
    after = fit(lab, "run", last(tmp_path / "run"))
    assert_same(folder, tmp_path / "run")
    assert before.rows + after.rows == rows


def test_data_that_cannot_begin_within_an_epoch_is_saved_at_its_ends(lab: Lab, tmp_path: Path) -> None:
    data = lab.data()
    data.setup("fit")
    loaders = data.train_dataloader(), data.val_dataloader()
    stop = Interruption(signal.SIGTERM, "on_train_batch_start", 9)
    trainer = lab.trainer(callbacks=[Unfreeze({0: "all"}), EMA(0.9), RunCheckpoint(0, ALWAYS), stop])
    with pytest.raises(SystemExit, match="143"):
        trainer.fit(lab.model(), *loaders)
    assert torch.load(last(tmp_path / "run"), weights_only=True)["global_step"] == 6


def test_other_batches_than_those_of_the_interrupted_epoch_are_refused(lab: Lab, whole: tuple[Path, list[Row]]) -> None:
    start = last(whole[0].parent / "after_9")
    with pytest.raises(
        UsageError, match=r"within epoch 2 of a run with batch_size 8, this one has 4: .*end of an epoch"
    ):
        lab.trainer(accumulate_grad_batches=2).fit(lab.model(), lab.data(batch_size=4), ckpt_path=start)


def test_a_kill_between_the_last_and_the_best_loses_and_copies_nothing(
    lab: Lab, tmp_path: Path, whole: tuple[Path, list[Row]], monkeypatch: pytest.MonkeyPatch
) -> None:
    save: Callable[..., None] = AtomicCheckpointIO.save_checkpoint

    def killed(self: AtomicCheckpointIO, checkpoint: Any, path: Path, **options: Any) -> None:
        if Path(path).name == "best.ckpt":
            raise SystemExit(137)
        save(self, checkpoint, path, **options)

    with monkeypatch.context() as patch:
        patch.setattr(AtomicCheckpointIO, "save_checkpoint", killed)
        assert fit(lab, "run").version == 137
    assert not (tmp_path / "run" / "checkpoints" / "best.ckpt").exists()
    fit(lab, "run", last(tmp_path / "run"))
    assert_same(whole[0], tmp_path / "run")
    names = {path.name for path in (tmp_path / "run" / "checkpoints").iterdir()}
    assert names == {"last.ckpt", "best.ckpt", "epoch_000.ckpt", "epoch_001.ckpt", "epoch_002.ckpt"}


def test_what_lightning_saved_under_slurm_does_not_take_over_a_new_run(
    lab: Lab, tmp_path: Path, whole: tuple[Path, list[Row]], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run").mkdir()
    shutil.copy(last(whole[0]), tmp_path / "run" / "hpc_ckpt_1.ckpt")
    monkeypatch.setenv("SLURM_NTASKS", "1")
    monkeypatch.setenv("SLURM_JOB_NAME", "train")
    with pytest.raises(UsageError, match=r"hpc_ckpt_1\.ckpt is what Lightning saves under SLURM, .*move it away"):
        fit(lab, "run")
