"""A run in a few lines, for the terminal."""

from collections.abc import Iterator

from emotion_lightning.evaluation.metrics import OVERALL
from emotion_lightning.report.duration import duration
from emotion_lightning.report.run import Run


def summary(run: Run, split: str) -> str:
    """Say what a run did, how long it took, and the last results on ``split``."""
    rows = list(_rows(run, split))
    width = max(len(title) for title, _ in rows)
    return "\n".join(f"  {title:<{width}}  {text}" for title, text in rows)


def _rows(run: Run, split: str) -> Iterator[tuple[str, str]]:
    if run.best_epoch is not None:
        yield "best epoch", f"{run.best_epoch + 1} of {run.epochs}"
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
