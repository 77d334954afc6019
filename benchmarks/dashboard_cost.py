"""What the dashboard costs: epochs with and without it in turn, within one run of the demo.

python -m benchmarks.dashboard_cost [--pairs_in_phase 6] [--batches 30] [--backbone resnet18]

Every phase begins with an epoch that counts for nothing. Then come pairs of epochs, one without the dashboard and one
in which it shows all that it ever shows, a phase's beginning as well as its end, where in a run most epochs show
neither: what is measured is the most that an epoch can cost. The order within the pairs alternates.

Two figures are told apart. The seconds in the dashboard's own hooks hardly depend on what else the machine does. What
it might cost elsewhere, such as by its writer's thread, is the ratio of what is left of both epochs, which is as exact
as there are pairs: epochs of one kind differ by ten per cent on many a machine.
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import mean, median, stdev
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger

from emotion_lightning import EmotionClassifier, EmotionDataModule
from emotion_lightning.callbacks import EMA, RunCheckpoint, TensorBoardImages, Throughput, Unfreeze
from emotion_lightning.runtime.precision import resolve_precision
from emotion_lightning.schedule import unfreeze_epoch

CONFIG = Path(__file__).parents[1] / "configs" / "demo.yaml"
HOOKS = ("on_train_batch_start", "on_validation_epoch_end", "on_train_epoch_end")


class EpochClock(Callback):
    """Notes when each epoch begins; it stands first."""

    def __init__(self) -> None:
        self.starts: list[float] = []

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the beginning of an epoch."""
        self.starts.append(time.perf_counter())

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the end of the last."""
        self.starts.append(time.perf_counter())

    @property
    def seconds(self) -> list[float]:
        """Seconds from each epoch's beginning to the next one's, validation and checkpoint included."""
        return [end - start for start, end in pairwise(self.starts)]


class ShownInSome(TensorBoardImages):
    """A dashboard that shows everything in some epochs and nothing in the others.

    Args:
        shown: The epochs.
    """

    def __init__(self, shown: set[int]) -> None:
        super().__init__(every_n_epochs=1)
        self.shown, self.hooks = shown, defaultdict[int, float](float)
        for name in HOOKS:
            setattr(self, name, partial(self._turn, getattr(self, name)))

    def _turn(self, hook: Callable[..., None], trainer: Trainer, *args: Any) -> None:
        if trainer.current_epoch in self.shown:
            start = time.perf_counter()
            hook(trainer, *args)
            self.hooks[trainer.current_epoch] += time.perf_counter() - start

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw nothing: the last epoch may be one without."""

    def _begins_phase(self, trainer: Trainer) -> bool:
        return trainer.current_epoch in self.shown


def pairs(phases: int, pairs_in_phase: int) -> Iterator[tuple[int, int]]:
    """Yield the epochs without and with the dashboard, behind the first epoch of each phase."""
    for pair in range(phases * pairs_in_phase):
        phase, place = divmod(pair, pairs_in_phase)
        first = phase * (1 + 2 * pairs_in_phase) + 1 + 2 * place
        yield (first, first + 1) if pair % 2 else (first + 1, first)


def fit(config: dict[str, Any], dashboard: TensorBoardImages, batches: int | None) -> list[float]:
    """Run the configuration in a folder that goes away, and return the seconds of its epochs."""
    schedule = config["unfreeze"]["schedule"]
    data = EmotionDataModule(**config["data"], unfreeze_epoch=unfreeze_epoch(schedule))
    model, clock = EmotionClassifier(data.class_names, **config["model"]), EpochClock()
    callbacks = [clock, Unfreeze(schedule), EMA(**config["ema"]), Throughput(), RunCheckpoint(), dashboard]
    with TemporaryDirectory() as folder:
        Trainer(
            **config["trainer"],
            gradient_clip_val=1.0,
            log_every_n_steps=10,
            precision=resolve_precision("16-mixed", "auto", model),
            limit_train_batches=batches,
            callbacks=callbacks,
            logger=TensorBoardLogger(folder, default_hp_metric=False),
            enable_progress_bar=False,
            enable_model_summary=False,
        ).fit(model, data)
    return clock.seconds


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs_in_phase", type=int, default=6, help="pairs of epochs in each of the five phases")
    parser.add_argument("--batches", type=int, help="training batches of an epoch; by default all")
    parser.add_argument("--backbone", default="resnet50", help="name of a timm model")
    options = parser.parse_args()

    config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    stages, length = list(config["unfreeze"]["schedule"].values()), 1 + 2 * options.pairs_in_phase
    config["unfreeze"]["schedule"] = {length * phase: stage for phase, stage in enumerate(stages)}
    config["model"]["backbone"] = options.backbone
    config["trainer"]["max_epochs"] = length * len(stages)
    compared = list(pairs(len(stages), options.pairs_in_phase))
    dashboard = ShownInSome({shown for _, shown in compared})
    seconds = fit(config, dashboard, options.batches)
    elsewhere = []
    for without, shown in compared:
        elsewhere.append((seconds[shown] - dashboard.hooks[shown]) / seconds[without])
        print(
            f"{stages[without // length]}: epoch {without} without {seconds[without]:.2f} s, epoch {shown} with "
            f"{seconds[shown]:.2f} s, {dashboard.hooks[shown]:.2f} s of it in the hooks; the rest over that without "
            f"{elsewhere[-1]:.4f}"
        )
    hooks, without = sum(dashboard.hooks.values()), sum(seconds[without] for without, _ in compared)
    print(
        f"\nin its hooks: {hooks / len(compared):.3f} s an epoch, {hooks / without:.2%} of an epoch without"
        f"\nelsewhere, with over without, {len(elsewhere)} pairs: median {median(elsewhere):.4f}, mean "
        f"{mean(elsewhere):.4f} with standard error {stdev(elsewhere) / len(elsewhere) ** 0.5:.4f}"
    )


if __name__ == "__main__":
    main()
