"""A run in a few lines, for the terminal."""

from collections.abc import Iterator

from emotion_lightning.evaluation.metrics import MONITOR, OVERALL
from emotion_lightning.report.duration import duration
from emotion_lightning.report.run import Run

SMALL_RATE = 1e-5
"""Smallest rate of the backbone that was tried, at which an unfreezing did least harm; benchmarks/ACCURACY.md."""


def summary(run: Run, split: str) -> str:
    """Say what a run did, how long it took, and the last results on ``split``."""
    rows = list(_rows(run, split))
    width = max(len(title) for title, _ in rows)
    return "\n".join(f"  {title:<{width}}  {text}" for title, text in rows)


def unfreezing_advice(run: Run) -> str | None:
    """Say what to try if no epoch after an unfreezing was better than one before; docs/training.md has the rule."""
    trained = len(run.history.get(MONITOR, {}))
    later = [epoch for epoch in run.phases if run.best_epoch is not None and run.best_epoch < epoch < trained]
    if not later:
        return None
    model = {"lr_backbone": SMALL_RATE} | run.config.get("model", {})
    rate = model["lr_backbone"]
    if rate > SMALL_RATE:
        remedy = f"a smaller rate, `lr_backbone={max(rate / 10, SMALL_RATE):g}`"
    elif model.get("batch_norm") == "train" and model.get("pretrained"):
        remedy = "`batch_norm=frozen`, which keeps the statistics of the pretrained weights"
    else:
        remedy = "more epochs, or leave the backbone frozen by `unfreeze.schedule={0: classifier_only}`"
    return (
        f"The best epoch, {run.best_epoch}, came before the unfreezing of epoch {later[0]}: what was unfrozen has not "
        f"made the model better. Try {remedy}."
    )


def _rows(run: Run, split: str) -> Iterator[tuple[str, str]]:
    epochs = len(run.history.get("train/loss") or run.history.get("val/loss", {}))
    if run.best_epoch is not None:
        yield "best epoch", f"{run.best_epoch}, of {epochs} epochs from 0"
    if run.seconds["train"]:
        yield "time", f"{duration(run.seconds['train'])} of training, {duration(run.seconds['val'])} of validation"
    metrics = run.results[split].metrics
    if metrics["n"] < metrics.get("of", 0):
        yield f"{split} images", f"{metrics['n']:,} of {metrics['of']:,}, drawn evenly over the classes"
    present = sum(row["support"] > 0 for row in metrics["per_class"].values())
    for name, title in OVERALL.items():
        value, interval = metrics[name], metrics["intervals"].get(name)
        between = f"  ({interval[0]:.4f} to {interval[1]:.4f})" if interval else ""
        if name == "f1_macro" and "f1_macro_present" in metrics and present < len(metrics["per_class"]):
            among = f"the {present} of {len(metrics['per_class'])} classes with images"
            whole = metrics["classes"] > present
            between += f"  ({metrics['f1_macro_present']:.4f} over {among})" if whole else f"  over {among}"
        yield f"{split} {title}", "-" if value is None else f"{value:.4f}{between}"
