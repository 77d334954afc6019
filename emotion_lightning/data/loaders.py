"""Batches of faces: loaders of every split, and augmentation on the device, for whatever data is given."""

import os
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities import rank_zero_info
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from emotion_lightning.batch import IGNORE_INDEX, IMAGENET, Normalization, normalize
from emotion_lightning.data.audit.checks import readable_images
from emotion_lightning.data.audit.exposure import Exposure
from emotion_lightning.data.audit.face_data import FaceData
from emotion_lightning.data.audit.findings import Audit
from emotion_lightning.data.audit.policy import Policies
from emotion_lightning.data.augment import POLICIES, augment, downscale, resize_size, sample_params
from emotion_lightning.data.dataset import (
    BalancedSampler,
    FaceDataset,
    Sample,
    SequentialSampler,
    ShuffledSampler,
    data_loader,
    spread,
)
from emotion_lightning.data.images.decode import Files, to_tensor
from emotion_lightning.data.images.sheet import contact_sheet
from emotion_lightning.data.images.typical import TypicalSize
from emotion_lightning.data.sources.folder import find_images, linked_message, real_files, unread_files, unread_message
from emotion_lightning.data.sources.manifest import Manifest, Split
from emotion_lightning.errors import UsageError
from emotion_lightning.runtime.ranks import is_first_rank
from emotion_lightning.schedule import Augmentation, augmentation_phase, training_resolution
from emotion_lightning.seeding import derive_seed

FerPlus = Literal["majority", "probabilities"]

RECIPE_BATCH = 16
"""Images of a training step for which the recipe's learning rates hold."""


class FaceLoaders(LightningDataModule):
    """Loads and augments the images of ``faces``; :class:`EmotionDataModule` says what its parameters mean."""

    def __init__(
        self,
        faces: FaceData,
        seed: int,
        policies: Policies,
        resolutions: dict[int, int],
        batch_size: int | Literal["auto"],
        eval_batch_size: int | Literal["auto"],
        num_workers: int | None,
        balance: Literal["none", "sampler", "loss"],
        fer_plus: FerPlus,
        test_split: Split,
        unfreeze_epoch: int | None,
        augmentation: Augmentation,
    ):
        super().__init__()
        self.faces, self.policies, self.resolutions = faces, policies, resolutions
        self.root, self.image_size, self.seed = faces.root, faces.image_size, seed
        self.batch_size, self.eval_batch_size, self.num_workers = batch_size, eval_batch_size, num_workers
        self.balance, self.fer_plus = balance, fer_plus
        self.test_split, self.unfreeze_epoch, self.augmentation = test_split, unfreeze_epoch, augmentation
        self.next_epoch = self.next_batch = 0  # where training begins

    @property
    def manifest(self) -> Manifest:
        """Every image with its label and split."""
        return self.faces.manifest

    @property
    def audit(self) -> Audit | None:
        """What is wrong with the data; None for the built-in faces, which are not looked at."""
        return self.faces.audit

    @cached_property
    def exposure(self) -> Exposure:
        """Which images are used, and which overlap with the training data: a checkpoint's once one is loaded."""
        return Exposure(self.manifest, self.audit, self.policies)

    @property
    def class_names(self) -> list[str]:
        """Names of the emotions in the order of the labels."""
        return list(self.faces.reading["class_names"] or self.manifest.class_names)

    @property
    def logit_adjustment(self) -> Tensor | None:
        """Logarithm of each class's share of the training images ``(classes,)``, if the loss makes up for it."""
        if self.balance != "loss":
            return None
        counts = torch.tensor(list(self.exposure.class_counts("train").values()), dtype=torch.float)
        return (counts / counts.sum()).log()

    @cached_property
    def predict_files(self) -> Files:
        """Every image under ``root``, labelled or not."""
        if self.root is None:
            raise UsageError("`root` is missing: give the folder or file of the images to predict")
        return find_images(self.root)

    def indices(self, split: Split) -> list[int]:
        """Positions of the images of ``split`` that are used."""
        return self.exposure.used(split)

    def measured(self, split: Split) -> list[int]:
        """Positions of the images of ``split`` that an evaluation takes: not all if the trainer limits its batches."""
        indices = self.indices(split)
        if self.trainer is None:
            return indices
        rank_rows = SequentialSampler(indices, *self._ranks())
        batches = -(-len(rank_rows) // self._evaluation_batch)
        limit = self.trainer.limit_test_batches if self.trainer.testing else self.trainer.limit_val_batches
        taken = int(batches * limit) if isinstance(limit, float) else min(batches, limit)
        if taken >= batches:
            return indices
        return spread(indices, self.manifest.labels, self.faces.seed)[
            : taken * self._evaluation_batch * self._ranks()[1]
        ]

    def images(self, indices: Sequence[int]) -> Tensor:
        """Images at ``indices`` as evaluation sees them before they are normalized, uint8 ``(n, 3, size, size)``."""
        return torch.stack([self._evaluation_data[index][0] for index in indices])

    def show(self, split: Split = "train", images: int = 6) -> Image.Image:
        """Return a sheet with some ``images`` of each class of ``split``, which a notebook shows."""
        labels = self.manifest.labels
        drawn = spread(self.indices(split), labels, self.seed)[: images * len(self.class_names)]
        by_class = sorted(drawn, key=lambda index: labels[index])
        pixels = torch.stack([to_tensor(self.manifest.read(index), self.image_size) for index in by_class])
        return Image.fromarray(contact_sheet(pixels, [self.class_names[labels[index]] for index in by_class], images))

    def subjects(self, indices: Tensor) -> Tensor | None:
        """Number the subject of each image at ``indices``, or the family of copies that it is of; None without any."""
        groups = self.manifest.groups
        if groups is None:
            return None
        numbers: dict[str | int, int] = {}  # an image without one is known by its position
        found = [numbers.setdefault(groups[index] or index, len(numbers)) for index in indices.tolist()]
        return torch.tensor(found) if len(numbers) < len(found) else None

    def content_hash(self, indices: Tensor) -> str:
        """What identifies the images at ``indices`` by their content, whatever their files are called."""
        return f"built-in faces of seed {self.faces.seed}" if self.root is None else self.exposure.content_hash(indices)

    def train_dataloader(self) -> DataLoader[Sample]:
        """Shuffled batches of the training split; the last incomplete one is dropped."""
        rank, world_size = self._ranks()
        indices = self.indices("train")
        if (per_rank := len(indices) // world_size) < self._training_batch:
            raise UsageError(
                f"`batch_size` {self._training_batch} is more than the {per_rank} training images per device"
            )
        sampler: ShuffledSampler | SequentialSampler
        sampler = ShuffledSampler(indices, self.seed, self.next_epoch, rank, world_size)
        if self.trainer is not None and self.trainer.overfit_batches > 0:  # type: ignore[attr-defined]
            sampler = SequentialSampler(  # the same batches in every epoch
                list(ShuffledSampler(indices, self.seed))[: per_rank * world_size], rank, world_size
            )
        elif self.balance == "sampler":
            sampler = BalancedSampler(indices, self.seed, self.next_epoch, rank, world_size, self.manifest.labels)
        sampler.resume(self.next_epoch, trained=self.next_batch * self._training_batch)
        read = self.faces.reader(resize_size(self.image_size))
        labels = torch.tensor(self.manifest.votes) if self.fer_plus == "probabilities" else self.manifest.labels
        dataset = FaceDataset(read, labels, self._training_side(indices))
        return data_loader(dataset, sampler, self._training_batch, self._workers, drop_last=True)

    def val_dataloader(self) -> DataLoader[Sample]:
        """The validation split in order."""
        return self._evaluation_loader(self._evaluation_data, self._measured_first("val"))

    def test_dataloader(self) -> DataLoader[Sample]:
        """The split that test measures, in order."""
        return self._evaluation_loader(self._evaluation_data, self._measured_first(self.test_split))

    def predict_dataloader(self) -> DataLoader[Sample]:
        """Every readable image under ``root`` in order, labelled as padding."""
        names = self.predict_files.names
        dataset = FaceDataset(Files(names, self.image_size), [IGNORE_INDEX] * len(names), self.image_size)
        return self._evaluation_loader(dataset, self._predictable)

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Draw the augmentation of a training batch on the host."""
        images, labels, indices = batch
        if not self._training():
            return batch
        drawn = sample_params(indices, derive_seed(self.seed, "augment", self._epoch()))
        # pinned like the rest of the batch, so that the copy to the GPU is asynchronous
        return images, labels, indices, drawn.pin_memory() if indices.is_pinned() else drawn

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Augment a training batch by the epoch's phase and side, only normalize any other; all on the device."""
        if not self._training():
            images, labels, indices = batch
            return normalize(images.float() / 255, self._normalization), labels, indices
        images, labels, indices, drawn = batch
        phase = POLICIES[augmentation_phase(self._epoch(), self.unfreeze_epoch, self.augmentation)]
        side = training_resolution(self.resolutions, self._epoch())
        augmented = augment(downscale(images, side), drawn, phase, side, self._normalization)
        return augmented, labels, indices

    @cached_property
    def _predictable(self) -> list[int]:
        files = self.predict_files
        assert self.root is not None  # or there were no files
        read = real_files(files.names)
        unread = unread_message(unread_files(self.root, read))
        for line in filter(None, (linked_message(self.root, read), unread)):
            rank_zero_info(f"Data: {line}")
        return readable_images(files, self.policies, is_first_rank())

    @cached_property
    def _evaluation_data(self) -> FaceDataset:
        used = [*self.indices("val"), *self.indices(self.test_split)]
        return FaceDataset(self.faces.reader(self.image_size, used), self.manifest.labels, self.image_size)

    def typical_size(self) -> TypicalSize:
        """How large the training images are as they are kept."""
        indices = self.indices("train")
        if self.audit is None:  # drawn, all alike
            width, height = self.manifest.read(indices[0]).size
            return TypicalSize.of([width], [height])
        return TypicalSize.of(self.audit.scan.widths[indices], self.audit.scan.heights[indices])

    def _training_side(self, indices: Sequence[int]) -> int:
        """Side at which training images go to the device: what augmentation needs, or less if all are smaller."""
        side = resize_size(self.image_size)
        if self.audit is None:
            return side
        found = self.audit.scan
        return min(side, int(np.maximum(found.widths, found.heights)[indices].max()))

    @property
    def _training_batch(self) -> int:
        return RECIPE_BATCH if self.batch_size == "auto" else self.batch_size

    @property
    def _evaluation_batch(self) -> int:
        return 2 * self._training_batch if self.eval_batch_size == "auto" else self.eval_batch_size

    def _measured_first(self, split: Split) -> list[int]:
        """The images of ``split``, of which the trainer takes those in front."""
        first = self.measured(split)
        rest = set(self.indices(split)).difference(first)
        return [*first, *sorted(rest)]

    def _evaluation_loader(self, dataset: FaceDataset, indices: Sequence[int]) -> DataLoader[Sample]:
        sampler = SequentialSampler(indices, *self._ranks())
        return data_loader(dataset, sampler, self._evaluation_batch, self._workers)

    @property
    def _workers(self) -> int:
        if self.num_workers is not None:
            return self.num_workers
        processes = 1 if self.trainer is None else self.trainer.num_devices
        return min(8, max(0, (os.cpu_count() or 1) // processes - 1))  # one core of each process is for training

    @property
    def _normalization(self) -> Normalization:
        """What the trainer's model wants its images normalized by; ImageNet's if it does not say."""
        module = None if self.trainer is None else self.trainer.lightning_module
        return getattr(module, "normalization", IMAGENET)

    def _training(self) -> bool:
        return self.trainer is not None and self.trainer.training

    def _epoch(self) -> int:
        return self.trainer.current_epoch if self.trainer is not None else 0

    def _ranks(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer is not None else (0, 1)
