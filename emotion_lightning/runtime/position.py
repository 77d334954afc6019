"""Where in an epoch a trainer is, and how a checkpoint tells Lightning's loops to go on from there."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning.pytorch import Trainer


def next_batch(trainer: "Trainer") -> tuple[int, int]:
    """Epoch and number in it of the batch that is trained on next, both from 0."""
    epochs: Any = trainer.fit_loop.epoch_progress.current
    batches: Any = trainer.fit_loop.epoch_loop.batch_progress.current
    ended = epochs.started == epochs.processed or trainer.is_last_batch
    return (epochs.started, 0) if ended else (epochs.started - 1, batches.processed)


def between_steps(trainer: "Trainer") -> bool:
    """Whether the batches so far are all in the weights: none waits in gradients for the others of its step."""
    return trainer.is_last_batch or next_batch(trainer)[1] % trainer.accumulate_grad_batches == 0


def ends_epoch(trainer: "Trainer") -> bool:
    """Whether callbacks are at the end of an epoch, which Lightning counts as completed only after them."""
    epochs: Any = trainer.fit_loop.epoch_progress.current
    ended: bool = epochs.processed > epochs.completed
    return ended


def validates_next(trainer: "Trainer") -> bool:
    """Whether a validation follows the training batch that has just ended; not where it follows the clock."""
    every, interval = trainer.check_val_every_n_epoch, trainer.val_check_batch
    if interval is None or not trainer.enable_validation:
        return False
    if every is None:
        return (trainer.fit_loop.total_batch_idx + 1) % interval == 0
    return (trainer.current_epoch + 1) % every == 0 and (trainer.fit_loop.batch_idx + 1) % interval == 0


def resume_at_validation(checkpoint: dict[str, Any], pending: bool) -> None:
    """Let a resume begin with the validation that a checkpoint was saved in, or with none.

    Lightning's loops find out by their counters whether a validation was under way: it was if a batch of it was begun
    and not ended. They keep such a remainder for the rest of the epoch, so it is put right where there is none.
    """
    total = checkpoint["loops"]["fit_loop"]["epoch_loop.val_loop.batch_progress"]["total"]
    current = checkpoint["loops"]["fit_loop"]["epoch_loop.val_loop.batch_progress"]["current"]
    total.update(dict.fromkeys(total, total["ready"]))
    if pending:
        total["ready"] = total["started"] = total["ready"] + 1
        current.update(dict.fromkeys(current, 0))


def end_saved_epoch(checkpoint: dict[str, Any]) -> bool:
    """Let a resume begin the next epoch after a checkpoint of the end of one; say whether it is one.

    Callbacks save before Lightning counts the epoch as completed. In a run whose end is a number of steps, it would go
    through the epoch's end once more, and so leave out the next epoch.
    """
    progress = checkpoint["loops"]["fit_loop"]["epoch_progress"]
    ended: bool = progress["current"]["started"] == progress["current"]["processed"]
    for counter in (progress["current"], progress["total"]) if ended else ():
        counter["completed"] = counter["processed"]
    return ended
