from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer

from emotion_lightning.callbacks import EMA, EarlyStopping, RunCheckpoint, Unfreeze
from emotion_lightning.errors import UsageError
from emotion_lightning.evaluation.metrics import MONITOR
from emotion_lightning.model.module import EmotionClassifier
from emotion_lightning.schedule import last_unfreezing
from tests.helpers import Lab


def scored(model: EmotionClassifier, scores: list[float], monkeypatch: pytest.MonkeyPatch) -> EmotionClassifier:
    """Let validation report ``scores``, one an epoch, in place of what it measures."""

    def log(*args: Any) -> None:
        if not model.trainer.sanity_checking:
            model.log(MONITOR, scores[model.current_epoch])

    monkeypatch.setattr(model, "on_validation_epoch_end", log)
    return model


def run(
    lab: Lab,
    monkeypatch: pytest.MonkeyPatch,
    scores: list[float],
    schedule: dict[int, str],
    patience: int = 2,
) -> tuple[Trainer, EmotionClassifier]:
    stopping = EarlyStopping(patience=patience, start_epoch=last_unfreezing(schedule))
    callbacks = [Unfreeze(schedule), EMA(0.9), stopping, RunCheckpoint(every_n_epochs=1)]
    trainer = lab.trainer(callbacks=callbacks, max_epochs=len(scores), limit_train_batches=1)
    model = scored(lab.model(), scores, monkeypatch)
    trainer.fit(model, lab.data())
    return trainer, model


def test_stops_when_patience_is_over(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer, _ = run(lab, monkeypatch, [0.5] * 9, {0: "all"})
    assert trainer.current_epoch == 3  # the best, and two without improvement


def test_a_plateau_of_a_frozen_phase_does_not_count(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    schedule = {0: "classifier", 4: "layer4", 6: "all"}
    trainer, _ = run(lab, monkeypatch, [0.5] * 12, schedule)
    assert trainer.current_epoch == 8  # epochs 6 and 7 are the two without improvement


def test_gains_below_min_delta_do_not_count(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    creeping = [0.5 + 0.0003 * epoch for epoch in range(9)]
    trainer, _ = run(lab, monkeypatch, creeping, {0: "all"})
    assert trainer.current_epoch == 3


def test_best_weights_are_restored_and_are_no_shallow_copy(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    scores = [0.1, 0.9, 0.5, 0.4, 0.3]
    _, model = run(lab, monkeypatch, scores, {0: "all"}, patience=3)
    checkpoints = tmp_path / "run" / "checkpoints"
    best, last = (torch.load(checkpoints / f"{n}.ckpt", weights_only=True)["state_dict"] for n in ("epoch_001", "last"))
    assert all(torch.equal(value, best[name]) for name, value in model.state_dict().items())
    assert any(not torch.equal(best[name], last[name]) for name in best)


def test_an_equal_score_does_not_replace_the_best(lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run(lab, monkeypatch, [0.4, 0.5, 0.5, 0.4], {0: "all"}, patience=9)
    assert torch.load(tmp_path / "run" / "checkpoints" / "best.ckpt", weights_only=True)["epoch"] == 1


def test_counter_and_best_score_survive_a_resume(lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    scores = [0.5, 0.9, 0.6, 0.7, 0.8, 0.8, 0.8, 0.8]
    run(lab, monkeypatch, scores, {0: "all"}, patience=3)
    checkpoint = RunCheckpoint()
    callbacks = [Unfreeze({0: "all"}), EMA(0.9), EarlyStopping(patience=3, start_epoch=0), checkpoint]
    trainer = lab.trainer(callbacks=callbacks, max_epochs=len(scores), limit_train_batches=1)
    model = scored(lab.model(), scores, monkeypatch)
    trainer.fit(model, lab.data(), ckpt_path=tmp_path / "run" / "checkpoints" / "epoch_002.ckpt")
    assert trainer.current_epoch == 5
    assert (checkpoint.best_epoch, checkpoint.best_score) == (1, pytest.approx(0.9))


def test_patience_below_one_is_refused() -> None:
    with pytest.raises(UsageError, match="patience` 0"):
        EarlyStopping(patience=0)


@pytest.mark.parametrize(
    ("options", "epochs"),
    [
        ({"check_val_every_n_epoch": 2}, 6),  # validated after 2, 4 and 6
        ({"val_check_interval": 0.5, "limit_train_batches": 2}, 3),
        ({"val_check_interval": 2, "limit_train_batches": 3}, 3),  # never at the end of an epoch
        ({"val_check_interval": 4, "limit_train_batches": 3, "check_val_every_n_epoch": None}, 4),
        ({"limit_val_batches": 0}, 9),
    ],
    ids=str,
)
def test_it_stops_wherever_in_an_epoch_the_validations_are(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], epochs: int
) -> None:
    callbacks = [Unfreeze({0: "all"}), EMA(0.9), EarlyStopping(patience=2, start_epoch=0), RunCheckpoint()]
    trainer = lab.trainer(callbacks=callbacks, max_epochs=9, **{"limit_train_batches": 1} | options)
    trainer.fit(scored(lab.model(), [0.5] * 9, monkeypatch), lab.data())
    assert trainer.current_epoch == epochs
