"""When a run saves within an epoch, and when a signal ends it: all ranks decide so at the same step."""

import time

from lightning.pytorch import Trainer

from emotion_lightning.runtime.ranks import Agreement
from emotion_lightning.runtime.signals import Signals, interruption


class Occasion:
    """Whether it is time to save: after some minutes on the first rank's clock, or after a signal to any rank.

    Args:
        every_n_minutes: Minutes after which it is time; 0 leaves signals alone.
    """

    def __init__(self, every_n_minutes: float):
        self.every_n_minutes = every_n_minutes
        self.signals = Signals()
        self.signal = 0  # on which all ranks agree

    def prepare(self, trainer: Trainer) -> None:
        """Take the signals, which still end the process at once."""
        self.signal, self.trainer = 0, trainer
        self.signals.take(trainer)

    def begin(self) -> None:
        """Start the clock, and wait for signals."""
        self._agreement = Agreement(self.trainer)
        self.saved()
        self.signals.waiting = True

    def saved(self) -> None:
        """Start the clock anew."""
        self._saved = time.monotonic()

    def has_come(self, at_once: bool = False) -> bool:
        """Say whether to save now; all ranks must ask equally often.

        Args:
            at_once: Ask the other ranks in any case, not only about once a second.
        """
        late = 0 < 60 * self.every_n_minutes <= time.monotonic() - self._saved and self.trainer.is_global_zero
        number, due = self._agreement.highest(self.signals.received, late, at_once=at_once)
        self.signal = self.signal or number
        return bool(due or self.signal)

    def end_run(self) -> None:
        """End the process if a signal has come.

        Raises:
            Interrupted: One has.
        """
        if self.signal:
            raise interruption(self.trainer, self.signal)
