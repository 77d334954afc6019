"""Which images of a data set a run uses, and which of those that it measures it has seen in training."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from emotion_lightning.data.audit.findings import Audit
from emotion_lightning.data.audit.policy import Policies, excluded
from emotion_lightning.data.audit.summary import state
from emotion_lightning.data.sources.splits import Split


@dataclass(frozen=True, eq=False)
class Usage:
    """What an audit means for a run.

    Attributes:
        audit: What was found.
        policies: What is done about it.
    """

    audit: Audit
    policies: Policies

    @cached_property
    def excluded(self) -> dict[int, str]:
        """Images that are not used, each with the reason."""
        return excluded(self.audit, self.policies)

    def used(self, split: Split) -> list[int]:
        """Positions of the images of ``split`` that are not left out."""
        return [index for index in self.audit.manifest.indices(split) if index not in self.excluded]

    def trained_on(self) -> Tensor:
        """What the training images are known by again, whatever their files are called, int64 ``(images,)``."""
        return self._content[self.used("train")]

    def selected_on(self) -> Tensor:
        """What the validation images, which choose a checkpoint, are known by again, int64 ``(images,)``."""
        return self._content[self.used("val")]

    def positions(self, content: Tensor | None) -> list[int]:
        """Positions of the images with one of the given contents."""
        if content is None:
            return []
        found: list[int] = torch.isin(self._content, content).nonzero().flatten().tolist()
        return found

    def fingerprint(self, indices: Tensor) -> str:
        """SHA-256 over the content of the images at ``indices``, in their order."""
        return hashlib.sha256(self._content[indices].numpy().tobytes()).hexdigest()

    def leaked(self, split: Split, trained_on: Tensor | None = None, selected_on: Tensor | None = None) -> Tensor:
        """Which images of the data a model has seen, or a copy of them, bool ``(N,)``.

        Images of the validation split count as seen where test images are measured, because they chose the checkpoint.

        Args:
            split: The split that is measured; other images are not looked at.
            trained_on: Images that the model was trained on, by :func:`content_ids`; by default this data's.
            selected_on: Images that chose the checkpoint, likewise.
        """
        known = self.used("train") if trained_on is None else self.positions(trained_on)
        if split == "test":
            known = known + self.positions(selected_on)
            known += self.used("val") if self.is_training_data(trained_on) else []
        seen = self.audit.seen(self.used(split), known)
        return torch.tensor([index in seen for index in range(len(self.audit.manifest))])

    def state(self, trained_on: Tensor | None = None) -> dict[str, Any]:
        """What goes with every measurement: what is wrong with the data, and what was done about it."""
        copies = (
            "identical and near copies"
            if self.is_training_data(trained_on)
            else "identical copies of the training images"
        )
        return {
            **state(self.audit),
            "policies": self.policies._asdict(),
            "excluded": dict(Counter(self.excluded.values())),
            "compared": copies,
        }

    def is_training_data(self, trained_on: Tensor | None) -> bool:
        """Say whether the images trained on are all in this data, so that near copies of them can be found."""
        if trained_on is None:
            return True
        return len(trained_on) > 0 and bool(torch.isin(trained_on, self._content).all())

    @cached_property
    def _content(self) -> Tensor:
        return content_ids(self.audit.scan.digests)  # asked for with every checkpoint


def content_ids(digests: Sequence[str]) -> Tensor:
    """The first 64 bits of each digest, enough to know an image again, int64 ``(N,)``."""
    return torch.tensor([int(digest[:16], 16) - 2**63 for digest in digests], dtype=torch.int64)
