"""What the dashboard costs a run: the demo with and without it in alternation, and the time spent in its own hooks.

python -m benchmarks.dashboard_cost [--pairs 5] [--epochs 9] [--batches 50] [--backbone resnet18]

The ratio of two runs is as exact as the machine is quiet; the share of the hooks, which counts all that the callback
does and also any waiting for a GPU, hardly depends on it.
"""

import argparse
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import TensorBoardLogger

from emotion_lightning import EmotionClassifier, EmotionDataModule
from emotion_lightning.callbacks import EMA, Checkpoint, Dashboard, Timing, Unfreeze
from emotion_lightning.precision import resolve_precision
from emotion_lightning.schedule import finetune_epoch

CONFIG = Path(__file__).parents[1] / "configs" / "demo.yaml"
HOOKS = (
    *("on_fit_start", "on_train_batch_start", "on_validation_epoch_end"),
    *("on_train_epoch_end", "on_train_end", "on_fit_end"),
)


def clocked(dashboard: Dashboard) -> Counter[str]:
    """Let every hook of ``dashboard`` add its seconds to what is returned."""
    seconds: Counter[str] = Counter()

    def timed(name: str, hook: Callable[..., None], *args: Any) -> None:
        start = time.perf_counter()
        hook(*args)
        seconds[name] += time.perf_counter() - start

    for name in HOOKS:
        setattr(dashboard, name, partial(timed, name, getattr(dashboard, name)))
    return seconds


def fit(config: dict[str, Any], dashboard: Dashboard | None, batches: int | None) -> float:
    """Run the configuration in a folder that goes away, and return its seconds."""
    schedule = config["unfreeze"]["schedule"]
    data = EmotionDataModule(**config["data"], finetune_epoch=finetune_epoch(schedule))
    model = EmotionClassifier(data.class_names, **config["model"])
    callbacks: list[Callback] = [Unfreeze(schedule), EMA(**config["ema"]), Timing(), Checkpoint()]
    with TemporaryDirectory() as folder:
        trainer = Trainer(
            **config["trainer"],
            gradient_clip_val=1.0,
            log_every_n_steps=10,
            precision=resolve_precision("16-mixed", "auto", model),
            limit_train_batches=batches,
            callbacks=callbacks if dashboard is None else [*callbacks, dashboard],
            logger=TensorBoardLogger(folder, default_hp_metric=False),
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        start = time.perf_counter()
        trainer.fit(model, data)
        return time.perf_counter() - start


def spread(values: list[float]) -> str:
    """Say the median and the range."""
    return f"{median(values):.4f} ({min(values):.4f} to {max(values):.4f})"


def main() -> None:
    """Run the pairs and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5, help="pairs of runs, one with the dashboard, one without")
    parser.add_argument("--epochs", type=int, help="epochs of each run; by default those of the demo")
    parser.add_argument("--batches", type=int, help="training batches of an epoch; by default all")
    parser.add_argument("--backbone", default="resnet50", help="name of a timm model")
    options = parser.parse_args()

    config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    config["model"]["backbone"] = options.backbone
    config["trainer"]["max_epochs"] = options.epochs or config["trainer"]["max_epochs"]
    epochs, ratios, shares = config["trainer"]["max_epochs"], [], []
    for pair in range(options.pairs):
        dashboard, seconds = Dashboard(), {}
        hooks = clocked(dashboard)
        for shown in ((dashboard, None), (None, dashboard))[pair % 2]:
            seconds[shown is not None] = fit(config, shown, options.batches)
        ratios.append(seconds[True] / seconds[False])
        shares.append(hooks.total() / seconds[True])
        print(
            f"pair {pair}: {seconds[False] / epochs:.2f} s an epoch without, {seconds[True] / epochs:.2f} s with, "
            f"ratio {ratios[-1]:.4f}; in the hooks {hooks.total():.2f} s of the run, {shares[-1]:.2%}: "
            + ", ".join(f"{name} {value:.2f}" for name, value in hooks.most_common())
        )
    print(f"with over without, median (range): {spread(ratios)}")
    print(f"share of the hooks, median (range): {spread(shares)}")


if __name__ == "__main__":
    main()
