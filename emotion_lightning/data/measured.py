"""Faces that a model is measured on: those of its run, or other data, of which all is measured."""

from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader

from emotion_lightning.data.audit.coverage import absent_note, unknown_note
from emotion_lightning.data.audit.face_data import FaceData
from emotion_lightning.data.dataset import Sample
from emotion_lightning.data.loaders import FaceLoaders
from emotion_lightning.data.sources.manifest import Split
from emotion_lightning.errors import DataError
from emotion_lightning.runtime.ranks import on_first_rank


class MeasuredFaces(FaceLoaders):
    """Loads a run's own data, or other data that its checkpoint is measured on; the checkpoint tells which it is."""

    other = False
    """Whether a checkpoint is measured on other data than that of its run."""

    layout_remembered = False
    """Whether ``layout`` is what a checkpoint remembers of its own data, and not given for this data."""

    _unchecked: str | None = None

    def _check_once(self) -> None:
        """Check the data for the stage; for a measurement when its checkpoint, if there is one, has been loaded."""
        stage, self._unchecked = self._unchecked, None
        if stage is not None:
            self._broadcast_audit()
            self.check(stage)

    def val_dataloader(self) -> DataLoader[Sample]:
        """The validation split in order, or in parts as :meth:`measured` says."""
        self._check_once()
        return super().val_dataloader()

    def test_dataloader(self) -> DataLoader[Sample]:
        """The split that test measures in order, or in parts as :meth:`measured` says."""
        self._check_once()
        return super().test_dataloader()

    def check(self, stage: str) -> None:
        """Stop where the data cannot be used for ``stage``."""
        raise NotImplementedError

    def class_notes(self, split: Split) -> list[str]:
        """Sentences on the classes that the model and the images of ``split`` do not share; none where all are."""
        counts = self.exposure.class_counts(split)
        return [*unknown_note(self.manifest.unknown), *absent_note(counts, split, self.other)]

    def _measure_only(self) -> None:
        """Read the data as that of a model which is only measured on it, unless it was read already."""
        module = None if self.trainer is None else self.trainer.lightning_module
        names = self.faces.reading["class_names"] or getattr(module, "class_names", None)
        if names is not None and not self.faces.was_read:
            self.faces = self.faces.measured(class_names=list(names))

    def _recognize(self, origin: dict[str, Any]) -> None:
        """Find out whether the data is other than that of a checkpoint's run; other data is left uncut."""
        trainer = self.trainer
        if trainer is None or self.faces.was_read or origin["root"] == resolved(self.root):
            return
        split = self.test_split if trainer.state.fn == "test" else "val"
        options: dict[str, Any] = {"group_regex": None}
        if origin["splits"] == resolved(self.faces.reading["splits_file"]):
            options["splits_file"] = None
        if origin.get("corrections") == resolved(self.faces.corrections):
            options["corrections"] = None
        moved = self.faces.measured(split, **options)
        self.other = on_first_rank(trainer, lambda: not _holds(moved, origin.get("trained_on")))
        if self.other:
            again = self.layout_remembered and self.faces.reading["layout"] != "auto"
            self.faces = self.faces.measured(split, **options, layout="auto") if again else moved

    def _broadcast_audit(self) -> None:
        """Look at the images in one process and tell all others, because all must exclude the same."""
        trainer = self.trainer
        if trainer is not None and trainer.world_size > 1 and self.root is not None:
            self.faces.audit = found = on_first_rank(trainer, lambda: self.audit)
            self.faces.manifest = self.manifest if found is None else found.manifest


def _holds(faces: FaceData, trained_on: Tensor | None) -> bool:
    try:
        return faces.holds(trained_on)
    except DataError:  # not in the layout of the run's own data, so it is other data
        return False


def resolved(path: Path | None) -> str | None:
    """Return ``path`` as a checkpoint keeps it."""
    return None if path is None else str(path.resolve())
