"""What a model has seen of the images that it is measured on, and what that makes of its figures."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from emotion_lightning.data.audit.flattery import MEASURED, flattery
from emotion_lightning.data.audit.usage import Usage
from emotion_lightning.data.sources.splits import Split


class Seen:
    """Which images a model was trained on and chosen by.

    Args:
        usage: What is known of the data's images; None for built-in faces, of which every one is drawn anew.
        images: Number of the data's images.
        checkpoint: State of the data that the model's checkpoint has; None for a model that is trained on this data.
    """

    def __init__(self, usage: Usage | None, images: int, checkpoint: Mapping[str, Any] | None = None):
        self._usage, self._images = usage, images
        self._known = checkpoint is None or "trained_on" in checkpoint
        origin = checkpoint or {}
        self._trained_on: Tensor | None = origin.get("trained_on")  # by content; None for this data's
        self._selected_on: Tensor | None = origin.get("selected_on")
        self._leaked: dict[Split, Tensor] = {}

    def leaked(self, split: Split) -> Tensor | None:
        """Which images of ``split`` the model has seen, or a copy of them, bool ``(N,)``; None if unknown."""
        if self._usage is None:
            return torch.zeros(self._images, dtype=torch.bool)
        if not self._known:
            return None
        if split not in self._leaked:
            self._leaked[split] = self._usage.leaked(split, self._trained_on, self._selected_on)
        return self._leaked[split]

    def state(self) -> dict[str, Any]:
        """What goes with every measurement: what is wrong with the data, and what was done about it."""
        if self._usage is None:
            return {"compared": "nothing, as every built-in face is drawn anew"}
        if not self._known:
            return {"compared": "nothing, as the checkpoint does not say which images it was trained on"}
        return self._usage.state(self._trained_on)

    def flattery(self, split: Split) -> list[str]:
        """Say why figures of ``split`` flatter the model; nothing where it was trained on other data."""
        if self._usage is None:
            return MEASURED[split]
        return flattery(self._usage, split, self._trained_on, self._selected_on) if self._known else []
