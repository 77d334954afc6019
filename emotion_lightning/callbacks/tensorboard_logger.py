"""TensorBoard's logger, whose file ends no run: what can no longer be written is left out."""

import threading
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

from emotion_lightning.callbacks.tensorboard_layout import CURVES, shown


class RunLogger(TensorBoardLogger):
    """Lightning's logger for TensorBoard; where its files can no longer be written, it warns once and training goes on.

    Scalars are named by their order, and what decides is written once more with a color for each split, as
    ``tensorboard_layout`` says. Its parameters are those of Lightning's.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._failed = False
        self._curves: dict[str, Any] = {}  # writers by split

    @property
    def experiment(self) -> Any:
        """The writer, whose methods do nothing once one has failed."""
        return _Guarded(super().experiment, self._try)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log scalars."""
        super().log_metrics({shown(name): value for name, value in metrics.items()}, step)
        for title, names in CURVES.items():
            for split, name in names.items():
                if name in metrics:
                    self._try(self._log_curve, split, f"curves/{title}", metrics[name], step)

    def _log_curve(self, split: str, *point: Any) -> None:
        from torch.utils.tensorboard import SummaryWriter

        if split not in self._curves:
            self._curves[split] = SummaryWriter(Path(self.log_dir) / f"curves_{split}")
        self._curves[split].add_scalar(*point)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Close the files."""
        super().finalize(status)
        for writer in self._curves.values():
            self._try(writer.close)

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
