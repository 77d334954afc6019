"""TensorBoard's logger, whose file ends no run: what can no longer be written is left out."""

import threading
import warnings
from collections.abc import Callable
from typing import Any

from lightning.pytorch.loggers import TensorBoardLogger


class RunLogger(TensorBoardLogger):
    """Lightning's logger for TensorBoard; where its files can no longer be written, it warns once and training goes on.

    Its parameters are those of Lightning's.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._failed = False

    @property
    def experiment(self) -> Any:
        """The writer, whose methods do nothing once one has failed."""
        return _Guarded(super().experiment, self._try)

    def log_hyperparams(self, *args: Any, **options: Any) -> None:
        """Put the options into the table of runs."""
        self._try(super().log_hyperparams, *args, **options)

    def save(self) -> None:
        """Write hparams.yaml."""
        self._try(super().save)

    def _try(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        if self._failed:
            return None
        try:
            return function(*args, **options)
        except OSError as error:
            self._failed = True
            warnings.warn(
                f"TensorBoard's files in {self.log_dir} can no longer be written ({error.strerror or error}): curves "
                "and pictures from here on are left out, and training goes on",
                stacklevel=1,
            )


class _Guarded:
    """Hands each call of a writer's method to ``attempt``."""

    def __init__(self, writer: Any, attempt: Callable[..., Any]) -> None:
        self._writer, self._attempt = writer, attempt

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._writer, name)
        return (lambda *args, **options: self._attempt(found, *args, **options)) if callable(found) else found


def say_nothing_of_writer(args: threading.ExceptHookArgs) -> None:
    """Leave an error of the thread that writes TensorBoard's file to :class:`RunLogger`, which is told as well."""
    if not (isinstance(args.exc_value, OSError) and type(args.thread).__module__.startswith("tensorboard.")):
        threading.__excepthook__(args)
