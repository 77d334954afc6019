"""The learning-rate finder: one sweep for the classifier, one for the backbone, on weights that are put back."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_only

from emotion_lightning.callbacks import Unfreeze
from emotion_lightning.data.datamodule import EmotionDataModule
from emotion_lightning.model.module import EmotionClassifier
from emotion_lightning.runs.files import atomic_csv, atomic_write, ensure_writable
from emotion_lightning.schedule import parse_schedule, phases, unfreeze_epoch
from emotion_lightning.tuning.lr_curve import smooth, suggest, sweep_rates
from emotion_lightning.tuning.lr_figure import draw
from emotion_lightning.tuning.range_test import RangeTest
from emotion_lightning.tuning.short_fit import UNLIMITED, short_fit

STEPS = 100
LOWEST, HIGHEST = 1e-6, 1.0


@dataclass(frozen=True)
class Sweep:
    """One sweep: the losses while the learning rate of ``part`` rose, and those on the same batches while it was 0.

    Args:
        part: classifier or backbone.
        configured: The peak learning rate that the run would have.
        rates: Learning rate of each step, up to where the loss diverged.
        losses: Loss of each step.
        reference: Loss of each step when the rate is 0.
    """

    part: str
    configured: float
    rates: Sequence[float]
    losses: Sequence[float]
    reference: Sequence[float]

    @property
    def smoothed(self) -> list[float]:
        """The losses without what the batches differ by, averaged over neighboring steps."""
        values: list[float] = smooth(self.losses, self.reference).tolist()
        return values

    @property
    def suggestion(self) -> float | None:
        """Rate of the steepest descent, or ``None`` if the loss never falls clearly."""
        return suggest(self.rates, self.losses, self.reference)


def lr_find(
    model: EmotionClassifier, data: EmotionDataModule, options: Mapping[str, Any], schedule: Mapping[int, str]
) -> str:
    """Run the sweeps, write ``lr_find.png`` and ``lr_find.csv``, and say which learning rates they suggest.

    Args:
        model: The model; in the end it has the weights that it had.
        data: The data.
        options: The trainer's options. Callbacks among them are left out.
        schedule: Epoch to the lowest stage that trains, as ``Unfreeze`` takes it.

    Raises:
        DataError: The folder for the files cannot be written; said before the sweeps.
    """
    folder = Path(options.get("default_root_dir") or ".") / "lr_find"
    is_first = rank_zero_only.rank == 0  # type: ignore[attr-defined]
    if is_first:
        ensure_writable(folder)
    found = sweeps(model, data, options, schedule)
    if is_first:
        _write(found, folder / "lr_find.csv")
        with atomic_write(folder / "lr_find.png") as temporary:
            draw(found, temporary)
    wrote = f"Wrote {folder / 'lr_find.png'} and {folder / 'lr_find.csv'}"
    return f"{_said(found)}\n{wrote}"


def sweeps(
    model: EmotionClassifier, data: EmotionDataModule, options: Mapping[str, Any], schedule: Mapping[int, str]
) -> list[Sweep]:
    """Sweep the rate of the classifier alone, then that of all stages of the backbone that the run ever trains.

    Each starts with the weights given, on the first batches of the run, augmented as the run does when these stages
    train.
    """
    schedule = parse_schedule(schedule)
    stages = phases(schedule, options["max_epochs"])[-1].stages
    parts = {"classifier": (stages[-1:], unfreeze_epoch(schedule) == 0)}
    if len(stages) > 1:
        parts["backbone"] = (stages, True)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    found = []
    for part, (trained, fine_tuned) in parts.items():
        data.unfreeze_epoch = 0 if fine_tuned else None
        rising = trained[-1:] if part == "classifier" else trained[:-1]
        rates = sweep_rates(LOWEST, HIGHEST, STEPS)
        losses = _sweep(model, data, options, trained[0], RangeTest(rising, rates))
        model.load_state_dict(weights)
        reference = _sweep(model, data, options, trained[0], RangeTest(rising, [0.0] * len(losses)))
        model.load_state_dict(weights)
        found.append(Sweep(part, model.hparams[f"lr_{part}"], rates[: len(losses)], losses, reference))
    return found


def _sweep(
    model: EmotionClassifier, data: EmotionDataModule, options: Mapping[str, Any], lowest: str, test: RangeTest
) -> list[float]:
    changes = UNLIMITED | {"max_epochs": -1, "max_steps": len(test.rates), "limit_val_batches": 0}
    short_fit(model, data, options, [Unfreeze({0: lowest}), test], **changes)
    return test.losses


def _said(found: Sequence[Sweep]) -> str:
    lines = [f"Learning rates, by up to {STEPS} steps from {LOWEST:g} to {HIGHEST:g}:"]
    for sweep in found:
        suggestion = "none, as the loss never falls clearly" if sweep.suggestion is None else f"{sweep.suggestion:.1e}"
        lines.append(f"  {sweep.part:<10}  configured {sweep.configured:.1e}  suggested {suggestion}")
    if len(found) == 1:
        lines.append("  backbone    left out, as `schedule` never trains it")
    options = [f"`lr_{sweep.part}={sweep.suggestion:.1e}`" for sweep in found if sweep.suggestion is not None]
    return "\n".join([*lines, *([f"To use what is suggested: {' '.join(options)}"] if options else [])])


def _write(found: Sequence[Sweep], path: Path) -> None:
    with atomic_csv(path) as file:
        writer = csv.writer(file)
        writer.writerow(["sweep", "step", "lr", "loss", "reference", "smoothed"])
        for sweep in found:
            columns = zip(sweep.rates, sweep.losses, sweep.reference, sweep.smoothed, strict=True)
            for step, (rate, *losses) in enumerate(columns):
                writer.writerow([sweep.part, step, f"{rate:.6e}", *(f"{loss:.6f}" for loss in losses)])
