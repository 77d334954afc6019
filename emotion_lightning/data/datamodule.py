"""The LightningDataModule: from a manifest to normalized batches on the device."""

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor
from torch.utils.data import DataLoader

from emotion_lightning.batch import IGNORE_INDEX, normalize
from emotion_lightning.data.audit.checks import check_usable, readable_images
from emotion_lightning.data.audit.exposure import Exposure
from emotion_lightning.data.audit.face_data import FaceData
from emotion_lightning.data.audit.findings import Audit
from emotion_lightning.data.audit.policy import Policies, Policy, policy_messages
from emotion_lightning.data.augment import POLICIES, augment, downscale, resize_size, sample_params
from emotion_lightning.data.dataset import (
    BalancedSampler,
    FaceDataset,
    Sample,
    SequentialSampler,
    ShuffledSampler,
    data_loader,
)
from emotion_lightning.data.images.decode import Files
from emotion_lightning.data.sources.folder import find_images
from emotion_lightning.data.sources.layouts import FORMATS, Format
from emotion_lightning.data.sources.manifest import SPLITS, Manifest, Split
from emotion_lightning.errors import DataError, UsageError, check_choice, check_least
from emotion_lightning.runtime.ranks import is_first_rank, on_first_rank
from emotion_lightning.schedule import (
    LEAST_SIDE,
    augmentation_phase,
    parse_resolutions,
    training_resolution,
    warn_unreached,
)
from emotion_lightning.seeding import derive_seed

RECIPE_BATCH = 16
"""Images of a training step for which the recipe's learning rates hold."""


class EmotionDataModule(LightningDataModule):
    """Face images by emotion, from any folder or file layout that docs/data.md names.

    Args:
        root: Folder of the images, or a fer2013.csv file; by default faces are drawn and nothing is read.
        image_size: Side of the network's square input in pixels.
        resolution_schedule: Epoch (from 0) to the side in pixels that training images have from then on, at most
            image_size, at which the network is evaluated throughout (progressive resizing; Touvron et al., 2019,
            FixRes); by default all have image_size.
        batch_size: Training images per batch and device; auto takes the largest power of two whose training step fits
            into 85 % of a GPU's free memory, at most 1024 and an eighth of its images; without a GPU it takes 16.
        eval_batch_size: Images per batch and device in evaluation, on which no result depends; auto takes twice the
            training batch, and on a GPU up to 256 if they fit into its memory.
        num_workers: Processes that read images, per device; by default one less than it has cores, at most 8.
        seed: Seed of everything random in a run.
        unreadable: What to do about images that cannot be decoded: error lists them and stops, skip leaves them out.
        leaks: What to do about images of which a copy stands in another split: report says so, drop leaves out the
            copy in the earlier split (never a test image), error stops.
        conflicts: What to do about identical images with different labels: report says so, drop leaves them out of
            training, error stops.
        balance: How rare classes are made up for: none, sampler draws every class equally often, loss adjusts the
            logits in training by the classes' frequencies (Menon et al., 2021).
        cache_gb: Most that decoded images may take on disk in 10⁹ bytes; 0 switches that cache off.
        splits_file: CSV file with filepath, label and split to use instead of the splits found, such as a run's
            splits.csv.
        test_split: Split that test measures.
        layout: How the data under root is kept; auto finds it by looking.
        merge_classes: Classes to merge, such as {happy: [happy, contempt]}: a new name, and the classes that become it.
        drop_classes: Classes whose images are left out, such as [contempt].
        group_regex: Regular expression whose first group, or that named subject, is searched in the path of each image
            below root; a cut keeps images together in which it finds the same.
        class_names: Emotions in the order of their labels; by default as the data has them, merged and dropped.
        unfreeze_epoch: Epoch from which augmentation is aggressive. On the command line it is the first unfreezing.

    Raises:
        DataError: The data is not as it should be; the message says what and where.
        UsageError: A number is outside its range.
    """

    def __init__(
        self,
        root: str | None = None,
        image_size: int = 224,
        resolution_schedule: dict[int, int] | None = None,
        batch_size: int | Literal["auto"] = 16,
        eval_batch_size: int | Literal["auto"] = "auto",
        num_workers: int | None = None,
        seed: int = 42,
        unreadable: Literal["error", "skip"] = "error",
        leaks: Policy = "report",
        conflicts: Policy = "report",
        balance: Literal["none", "sampler", "loss"] = "none",
        cache_gb: float = 10.0,
        splits_file: str | None = None,
        test_split: Literal["train", "val", "test"] = "test",
        layout: Format = "auto",
        merge_classes: dict[str, list[str]] | None = None,
        drop_classes: list[str] | None = None,
        group_regex: str | None = None,
        class_names: list[str] | None = None,
        unfreeze_epoch: int | None = 10,
    ):
        super().__init__()
        check_least("image_size", image_size, LEAST_SIDE)
        check_least("batch_size", 2 if batch_size == "auto" else batch_size, 2)  # batch norm needs two
        check_least("eval_batch_size", 1 if eval_batch_size == "auto" else eval_batch_size, 1)
        check_least("num_workers", num_workers or 0, 0)
        check_least("cache_gb", cache_gb, 0)
        check_choice("unreadable", unreadable, ("error", "skip"))
        check_choice("leaks", leaks, get_args(Policy))
        check_choice("conflicts", conflicts, get_args(Policy))
        check_choice("balance", balance, ("none", "sampler", "loss"))
        check_choice("test_split", test_split, SPLITS)
        check_choice("layout", layout, FORMATS)
        self.save_hyperparameters(ignore="class_names")  # resolved, they are the model's
        self.root = None if root is None else Path(root).expanduser()
        self.splits_file = None if splits_file is None else Path(splits_file).expanduser()
        self.image_size, self.resolutions = image_size, parse_resolutions(resolution_schedule, image_size)
        self.batch_size, self.eval_batch_size, self.num_workers = batch_size, eval_batch_size, num_workers
        self.seed, self.balance, self.policies = seed, balance, Policies(unreadable, leaks, conflicts)
        self.test_split, self.unfreeze_epoch, self.first_epoch = test_split, unfreeze_epoch, 0
        self._given_names = None if class_names is None else list(class_names)
        self._faces = FaceData(
            self.root,
            image_size,
            seed,
            cache_gb,
            class_names=self._given_names,
            splits_file=self.splits_file,
            layout=layout,
            merge_classes=merge_classes,
            drop_classes=drop_classes or (),
            group_regex=group_regex,
        )
        self._summary_logged = False

    @property
    def manifest(self) -> Manifest:
        """Every image with its label and split."""
        return self._faces.manifest

    @property
    def audit(self) -> Audit | None:
        """What is wrong with the data; None for the built-in faces, which are not looked at."""
        return self._faces.audit

    @cached_property
    def exposure(self) -> Exposure:
        """Which images are used, and which overlap with the training data: a checkpoint's once one is loaded."""
        return Exposure(self.manifest, self.audit, self.policies)

    @property
    def class_names(self) -> list[str]:
        """Names of the emotions in the order of the labels."""
        return list(self._given_names or self.manifest.class_names)

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

    def images(self, indices: Sequence[int]) -> Tensor:
        """Images at ``indices`` as evaluation sees them before they are normalized, uint8 ``(n, 3, size, size)``."""
        return torch.stack([self._evaluation_data[index][0] for index in indices])

    def content_hash(self, indices: Tensor) -> str:
        """What identifies the images at ``indices`` by their content, whatever their files are called."""
        return f"built-in faces of seed {self.seed}" if self.root is None else self.exposure.content_hash(indices)

    def setup(self, stage: str) -> None:
        """Check what the stage needs before it starts: its splits, the state of its images, the classes of the model.

        Raises:
            DataError: A split is empty, an image cannot be read, or a policy is error and something is wrong.
        """
        if stage == "predict":
            self._predictable  # noqa: B018  # looks at the images now, not when the loader is made
            return
        self._broadcast_audit()
        self.check(stage)
        if stage == "fit":
            self.first_epoch, self.exposure = 0, Exposure(self.manifest, self.audit, self.policies)
        if self.trainer is None:
            return
        if stage == "fit":
            warn_unreached("resolution_schedule", self.resolutions, self.trainer)
        if match_data := getattr(self.trainer.lightning_module, "match_data", None):
            match_data(stage, self.class_names, self.seed, self.logit_adjustment)

    def check(self, stage: str) -> None:
        """Say what the data is and what is wrong with it, and stop where it cannot be used for ``stage``.

        Raises:
            DataError: As ``setup``.
        """
        if not self._summary_logged:
            self._summary_logged = True
            messages = [] if self.audit is None else policy_messages(self.audit, self.policies)
            for line in (self.manifest.describe(), *messages):
                rank_zero_info(f"Data: {line}")
        needed: dict[str, tuple[Split, ...]] = {
            "fit": ("train", "val"),
            "validate": ("val",),
            "test": (self.test_split,),
        }
        check_usable(self.exposure, needed[stage], training=stage == "fit")

    def train_dataloader(self) -> DataLoader[Sample]:
        """Shuffled batches of the training split; the last incomplete one is dropped."""
        rank, world_size = self._ranks()
        indices = self.indices("train")
        if (per_rank := len(indices) // world_size) < self._training_batch:
            raise UsageError(
                f"`batch_size` {self._training_batch} is more than the {per_rank} training images per device"
            )
        sampler = ShuffledSampler(indices, self.seed, self.first_epoch, rank, world_size)
        if self.balance == "sampler":
            sampler = BalancedSampler(indices, self.seed, self.first_epoch, rank, world_size, self.manifest.labels)
        read = self._faces.reader(resize_size(self.image_size))
        dataset = FaceDataset(read, self.manifest.labels, self._training_side(indices))
        return data_loader(dataset, sampler, self._training_batch, self._workers, drop_last=True)

    def val_dataloader(self) -> DataLoader[Sample]:
        """The validation split in order."""
        return self._evaluation_loader(self._evaluation_data, self.indices("val"))

    def test_dataloader(self) -> DataLoader[Sample]:
        """The split that test measures, in order."""
        return self._evaluation_loader(self._evaluation_data, self.indices(self.test_split))

    def predict_dataloader(self) -> DataLoader[Sample]:
        """Every readable image under ``root`` in order, labelled as padding."""
        paths = self.predict_files.paths
        dataset = FaceDataset(Files(paths, self.image_size), [IGNORE_INDEX] * len(paths), self.image_size)
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
            return normalize(images.float() / 255), labels, indices
        images, labels, indices, drawn = batch
        phase = POLICIES[augmentation_phase(self._epoch(), self.unfreeze_epoch)]
        side = training_resolution(self.resolutions, self._epoch())
        return augment(downscale(images, side), drawn, phase, side), labels, indices

    def state_dict(self) -> dict[str, Any]:
        """Save the epoch that comes next, which the shuffling needs, and what the data was."""
        return {
            "next_epoch": self._epoch() + 1,
            "root": _resolved(self.root),
            "splits": _resolved(self.splits_file),
            "data": self._manifest_hash,
            **self.exposure.state_dict(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue after the epochs already trained.

        Raises:
            DataError: The data changed so that a resume, or a test split cut anew, would not be what it was.
        """
        doing = None if self.trainer is None else self.trainer.state.fn
        if doing == "predict":
            return
        changed = self._manifest_hash != state_dict["data"]
        if doing == "fit":
            self.first_epoch = state_dict["next_epoch"]
            trained_on = self.exposure.state_dict()["trained_on"]
            changed = changed or not torch.equal(trained_on, state_dict.get("trained_on", trained_on))
        else:
            self.exposure = Exposure(self.manifest, self.audit, self.policies, state_dict)
            changed = changed and state_dict["root"] == _resolved(self.root) and bool(self.manifest.cut)
        if changed:
            raise DataError(
                f"the images under {self.root} or their splits are not those that the checkpoint was trained with; "
                "give `splits_file` the splits.csv of its run, or start a new run"
            )

    @cached_property
    def _predictable(self) -> list[int]:
        return readable_images(self.predict_files, self.policies, is_first_rank())

    @cached_property
    def _manifest_hash(self) -> str:
        return self.manifest.fingerprint()

    @cached_property
    def _evaluation_data(self) -> FaceDataset:
        used = [*self.indices("val"), *self.indices(self.test_split)]
        return FaceDataset(self._faces.reader(self.image_size, used), self.manifest.labels, self.image_size)

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

    def _evaluation_loader(self, dataset: FaceDataset, indices: Sequence[int]) -> DataLoader[Sample]:
        batch_size = 2 * self._training_batch if self.eval_batch_size == "auto" else self.eval_batch_size
        return data_loader(dataset, SequentialSampler(indices, *self._ranks()), batch_size, self._workers)

    @property
    def _workers(self) -> int:
        if self.num_workers is not None:
            return self.num_workers
        processes = 1 if self.trainer is None else self.trainer.num_devices
        return min(8, max(0, (os.cpu_count() or 1) // processes - 1))  # one core of each process is for training

    def _broadcast_audit(self) -> None:
        """Look at the images in one process and tell all others, because all must exclude the same."""
        trainer = self.trainer
        if trainer is not None and trainer.world_size > 1 and self.root is not None:
            self._faces.audit = found = on_first_rank(trainer, lambda: self.audit)
            self._faces.manifest = self.manifest if found is None else found.manifest

    def _training(self) -> bool:
        return self.trainer is not None and self.trainer.training

    def _epoch(self) -> int:
        return self.trainer.current_epoch if self.trainer is not None else 0

    def _ranks(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer is not None else (0, 1)


def _resolved(path: Path | None) -> str | None:
    return None if path is None else str(path.resolve())
