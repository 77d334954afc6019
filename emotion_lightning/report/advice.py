"""What a coach would say of a run: what to try next, and the figure that says so."""

from collections.abc import Mapping
from typing import Any

from emotion_lightning.evaluation.intervals import share_interval
from emotion_lightning.evaluation.metrics import MONITOR
from emotion_lightning.report.run import Run
from emotion_lightning.schedule import trainable_stages

SENTENCES = 3
"""Most that is said of a run, as nobody acts on ten."""

SMALL_RATE = 1e-5
"""Smallest rate of the backbone that was tried, at which an unfreezing did least harm; benchmarks/ACCURACY.md."""

ANNEALED = 0.1
"""Share of the peak rate below which OneCycle has done nearly all that it does."""

MARGIN = 0.1
"""Accuracy by which training must lie above validation's interval; some distance is usual and does no harm."""


def advice(run: Run, metrics: Mapping[str, Any]) -> list[str]:
    """Say what to try next in at most three pieces of advice, what matters most first; nothing if all is well.

    Each states the figure that it rests on, and is given only where that is larger than chance explains. Epochs are
    counted from 1. What a run made from Python lacks, such as its options, is not judged.

    Args:
        run: Its history and options.
        metrics: Content of the metrics.json of its validation split, or of another where that was not measured.
    """
    found = (
        _unreached(run),
        _unfreezing(run, metrics),
        _overfitting(run, metrics),
        _unrecognized(run, metrics),
        _not_annealed(run),
        _still_rising(run, metrics),
    )
    return [said for said in found if said is not None][:SENTENCES]


def _unreached(run: Run) -> str | None:
    """Stages that were to train later than the run was to end."""
    phases, epochs = run.phases, _planned(run)
    late = [start for start in phases if start >= epochs]
    if not late or epochs < 2:
        return None
    last = max(phases)
    trained = trainable_stages(phases, epochs - 1)
    never = [stage for stage in reversed(trainable_stages(phases, last)) if stage not in trained]
    # as the recipe does, everything trains in the second half
    fitted = {min(start, max(1, start * epochs // (2 * last))): stage for start, stage in phases.items()}
    schedule = ", ".join(f"{start}: {stage}" for start, stage in fitted.items())
    return (
        f"{', '.join(never)} never trained, as `unfreeze.schedule` begins with {never[0]} in epoch {late[0] + 1} and "
        f"the run had {epochs}. Give a schedule that fits, `unfreeze.schedule={{{schedule}}}`, or more epochs."
    )


def _unfreezing(run: Run, metrics: Mapping[str, Any]) -> str | None:
    """An unfreezing after which all epochs were worse than one before by more than half the score's interval."""
    scores, best = run.history.get(MONITOR, {}), run.best_epoch
    later = [start for start in run.phases if best is not None and start > best]
    after = [score for epoch, score in scores.items() if later and epoch >= later[0]]
    interval = metrics.get("intervals", {}).get("f1_macro")
    if best is None or len(after) < 2 or not interval:  # one epoch is too little to judge by
        return None
    if scores[best] - max(after) <= (interval[1] - interval[0]) / 2:
        return None
    model = {"lr_backbone": SMALL_RATE} | run.config.get("model", {})
    rate = model["lr_backbone"]
    if rate > SMALL_RATE:
        remedy = f"a smaller rate, `model.lr_backbone={max(rate / 10, SMALL_RATE):g}`"
    elif model.get("batch_norm") == "train" and model.get("pretrained"):
        remedy = "`model.batch_norm=frozen`, which keeps the statistics of the pretrained weights"
    else:
        remedy = "more epochs, or leave the backbone frozen by `unfreeze.schedule={0: classifier_only}`"
    return (
        f"The best epoch, {best + 1}, came before the unfreezing of epoch {later[0] + 1}: macro F1 was "
        f"{scores[best]:.3f}, and {max(after):.3f} at best with what was unfrozen. Try {remedy}."
    )


def _overfitting(run: Run, metrics: Mapping[str, Any]) -> str | None:
    """Training far above validation, though its images are augmented and mixed, which makes them harder.

    The lowest accuracy of the last quarter is compared with the best validation: weights are averaged over about a
    ninth of the run, so that validation follows training later.
    """
    epochs, images = run.epochs, metrics.get("n", 0)
    train, val = (run.history.get(name, {}) for name in ("train/accuracy_dominant", "val/accuracy"))
    late = [accuracy for epoch, accuracy in train.items() if 4 * epoch >= 3 * epochs]
    drawn_evenly = run.config.get("data", {}).get("balance") == "sampler"  # then the two are of other classes
    if epochs < 4 or not (late and val and images) or drawn_evenly:
        return None
    lowest, best = min(late), max(val.values())
    if lowest - share_interval(round(best * images), images)[1] <= MARGIN:
        return None
    model = run.config.get("model", {})
    remedies = {"mix_prob": 0.8, "dropout_rate": 0.5}
    stronger = [f"`model.{name}={value}`" for name, value in remedies.items() if model.get(name, value) < value]
    remedy = " and ".join(stronger) or "more images, or a smaller backbone"
    return (
        f"Training is right on {lowest:.0%} of its images, augmented as they are, and validation on {best:.0%} at "
        f"best: the model knows its training images by heart. Try {remedy}."
    )


def _unrecognized(run: Run, metrics: Mapping[str, Any]) -> str | None:
    """Classes of which no image is recognized, on more images than guessing would miss."""
    rows: Mapping[str, Any] = metrics.get("per_class", {})
    missed = {
        name: row["support"]
        for name, row in rows.items()
        if row["recall"] == 0 and share_interval(0, row["support"])[1] < 1 / len(rows)
    }
    if not missed:
        return None
    named = " and ".join(f"the {images:,} images of {name}" for name, images in missed.items())
    images = sum(row["support"] for row in rows.values())
    rare = all(count * len(rows) * 2 < images for count in missed.values())
    if rare and run.config.get("data", {}).get("balance", "none") == "none":
        remedy = (
            f"{sum(missed.values()) / images:.1%} of all images is too few to learn from unless they are drawn more "
            "often: try `data.balance=sampler`"
        )
    else:
        remedy = "the report shows what they are taken for, and whether their labels can be right"
    return f"None of {named} is recognized: {remedy}."


def _not_annealed(run: Run) -> str | None:
    """Early stopping at a rate that was still high."""
    epochs, planned, best = run.epochs, _planned(run), run.best_epoch
    peak = run.config.get("model", {}).get("lr_classifier")
    rates = run.history.get("lr/classifier", {})
    patience = run.config.get("early_stopping", {}).get("patience")
    if run.config.get("model", {}).get("lr_schedule") == "constant":
        return None
    if not (peak and rates and patience) or best is None or epochs >= planned or epochs - 1 - best < patience:
        return None
    share = rates[max(rates)] / peak
    if share <= ANNEALED:
        return None
    return (
        f"The run was stopped after {epochs} of {planned} epochs at {share:.0%} of the peak learning rate, and what "
        f"annealing gives is missing. Plan as many epochs as it needs: `trainer.max_epochs={epochs}`."
    )


def _still_rising(run: Run, metrics: Mapping[str, Any]) -> str | None:
    """A score that has risen to the last epoch by more than its interval's half."""
    scores, epochs, interval = run.history.get(MONITOR, {}), run.epochs, metrics.get("intervals", {}).get("f1_macro")
    last = max(1, epochs // 5)
    earlier = [score for epoch, score in scores.items() if epoch < epochs - last]
    if not earlier or not interval or run.best_epoch != epochs - 1 or epochs < _planned(run):
        return None
    before, best = max(earlier), scores[epochs - 1]
    if best - before <= (interval[1] - interval[0]) / 2:
        return None
    within = "the last epoch" if last == 1 else f"the last {last} epochs"
    return (
        f"The best epoch is the last, {epochs}: macro F1 rose from {before:.3f} to {best:.3f} in {within} and may rise "
        f"further. Train longer, such as `trainer.max_epochs={2 * epochs}`."
    )


def _planned(run: Run) -> int:
    """Number of epochs that were to be trained."""
    given = run.config.get("trainer", {}).get("max_epochs")
    return given if isinstance(given, int) and given > 0 else run.epochs
