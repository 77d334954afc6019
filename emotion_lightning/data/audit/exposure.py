"""Which evaluation images overlap with the training data, and the warnings that follow."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from emotion_lightning.data.audit.findings import Audit
from emotion_lightning.data.audit.policy import Policies, excluded
from emotion_lightning.data.audit.scan import content_hashes
from emotion_lightning.data.audit.summary import counts
from emotion_lightning.data.sources.manifest import Manifest, Split

SAME_SPLIT = 0.5
"""Share of the validation or test images with a copy in the other split from which the two count as one."""

FER2013_TEST = "PrivateTest"
"""What the names of FER2013's test images begin with."""

USED_IN_TRAINING: dict[Split, list[str]] = {
    "train": ["These are the images that the model was trained on: the metrics say nothing about others."],
    "val": ["These are the images that chose the checkpoint: on others the metrics will be somewhat lower."],
    "test": [],
}


class Exposure:
    """What a model has been exposed to of the images that it is measured on.

    Args:
        manifest: The images that are measured.
        audit: What was found about them; None for the built-in faces, of which every one is drawn anew.
        policies: What is done about findings.
        checkpoint: What :meth:`state_dict` gave for the data that the model was trained on; None for a model that is
            trained on this data.
    """

    def __init__(
        self, manifest: Manifest, audit: Audit | None, policies: Policies, checkpoint: Mapping[str, Any] | None = None
    ):
        self.manifest, self.audit, self.policies = manifest, audit, policies
        self._known = checkpoint is None or "trained_on" in checkpoint
        origin = checkpoint or {}
        self._trained_on: Tensor | None = origin.get("trained_on")  # None: this data's training images
        self._selected_on: Tensor | None = origin.get("selected_on")
        self._masks: dict[Split, Tensor] = {}

    @cached_property
    def excluded(self) -> dict[int, str]:
        """Images that are not used, each with the reason."""
        return {} if self.audit is None else excluded(self.audit, self.policies)

    def used(self, split: Split) -> list[int]:
        """Positions of the images of ``split`` that are not excluded."""
        return [index for index in self.manifest.indices(split) if index not in self.excluded]

    def class_counts(self, split: Split) -> dict[str, int]:
        """Number of used images of each class in ``split``, in the order of the labels."""
        found = Counter(self.manifest.labels[index] for index in self.used(split))
        return {name: found[label] for label, name in enumerate(self.manifest.class_names)}

    def state_dict(self) -> dict[str, Any]:
        """64-bit content hashes of the training and of the validation images of this data, int64 ``(N,)`` each."""
        if self.audit is None:
            return {"trained_on": torch.empty(0, dtype=torch.int64), "selected_on": None}
        return {"trained_on": self._hashes[self.used("train")], "selected_on": self._hashes[self.used("val")]}

    def content_hash(self, indices: Tensor) -> str:
        """SHA-256 over the content of the images at ``indices``, in their order."""
        return hashlib.sha256(self._hashes[indices].numpy().tobytes()).hexdigest()

    def overlap_mask(self, split: Split) -> Tensor | None:
        """Which images of ``split`` the model was trained on, themselves or a duplicate, bool ``(N,)``.

        N is the number of all images; those of other splits are False. Validation images chose the checkpoint, so they
        count as training data where test images are measured.

        Returns:
            None where the checkpoint does not say what it was trained on.
        """
        if self.audit is None:
            return torch.zeros(len(self.manifest), dtype=torch.bool)
        if not self._known:
            return None
        if split not in self._masks:
            mask = torch.zeros(len(self.manifest), dtype=torch.bool)
            mask[sorted(self.audit.overlapping(self.used(split), self._training_data(split)))] = True
            self._masks[split] = mask
        return self._masks[split]

    def copied_within(self, split: Split) -> Tensor:
        """Which images of ``split`` have a copy in this data's own training split, bool ``(N,)``, N as above."""
        mask = torch.zeros(len(self.manifest), dtype=torch.bool)
        if self.audit is not None and split != "train":
            mask[sorted(self.audit.overlapping(self.used(split), self.used("train")))] = True
        return mask

    def bias_warnings(self, split: Split) -> list[str]:
        """Return a sentence for each reason why metrics of ``split`` are too good; none if they are not.

        The validation split chooses checkpoints. If it is the test split, or much of it, metrics of the test split are
        biased as well, whatever either is called, and whichever data is measured now.
        """
        if self.audit is None:
            return USED_IN_TRAINING[split]
        if not self._known:
            return []
        own = self._is_training_data
        validating = self.used("val") if self._selected_on is None and own else self._positions(self._selected_on)
        return [
            *(USED_IN_TRAINING[split] if own else []),
            *self._private_test(validating),
            *self._same_split(self.audit, validating),
        ]

    def summary(self) -> dict[str, Any]:
        """What is wrong with the data, what was done about it, and how it was compared with the training data."""
        if self.audit is None:
            return {"compared": "nothing, as every built-in face is drawn anew"}
        if not self._known:
            return {"compared": "nothing, as the checkpoint does not say which images it was trained on"}
        near = "identical and near copies"
        return {
            **counts(self.audit),
            "policies": self.policies._asdict(),
            "excluded": dict(Counter(self.excluded.values())),
            "compared": near if self._is_training_data else "identical copies of the training images",
        }

    @cached_property
    def _hashes(self) -> Tensor:
        assert self.audit is not None
        return content_hashes(self.audit.scan.digests)

    @cached_property
    def _is_training_data(self) -> bool:
        """Whether all images trained on are in this data, so that near copies of them can be found."""
        trained_on = self._trained_on
        return trained_on is None or (len(trained_on) > 0 and bool(torch.isin(trained_on, self._hashes).all()))

    def _training_data(self, split: Split) -> list[int]:
        """Positions of the images of this data that the model must not have seen for ``split``."""
        found = self.used("train") if self._trained_on is None else self._positions(self._trained_on)
        if split == "test":
            found += self._positions(self._selected_on) + (self.used("val") if self._is_training_data else [])
        return found

    def _positions(self, hashes: Tensor | None) -> list[int]:
        """Positions of the images with one of the given content hashes."""
        if hashes is None:
            return []
        found: list[int] = torch.isin(self._hashes, hashes).nonzero().flatten().tolist()
        return found

    def _private_test(self, validating: Sequence[int]) -> list[str]:
        names, splits = self.manifest.names, {self.manifest.splits[index] for index in validating}
        private = sum(names[index].rpartition("/")[2].startswith(FER2013_TEST) for index in validating)
        if not private or splits != {"val"}:
            return []
        return [
            f"The checkpoint was selected on the test set: {private:,} of {len(validating):,} validation images are of "
            "FER2013's PrivateTest, its test split."
        ]

    def _same_split(self, audit: Audit, validating: Sequence[int]) -> list[str]:
        test = self.used("test")
        copied = len(audit.overlapping(test, validating))
        if not copied or copied < SAME_SPLIT * min(len(set(validating)), len(test)):
            return []
        return [
            f"The checkpoint was selected on the test set: {copied:,} of {len(test):,} test images, or copies of them, "
            "are in the validation split that chose it."
        ]
