"""The LightningDataModule: from a manifest to normalised batches on the device."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities import rank_zero_info
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from emotion_lightning.data.augment import PHASES, augment, draw, normalise, stored_size
from emotion_lightning.data.builtin import builtin_manifest
from emotion_lightning.data.images import Files, find_unreadable, to_tensor
from emotion_lightning.data.layouts import Format
from emotion_lightning.data.manifest import Manifest, Split, read_manifest, write_splits
from emotion_lightning.data.sampler import SequentialSampler, ShuffledSampler
from emotion_lightning.data.unlabelled import find_images
from emotion_lightning.errors import DataError, UsageError
from emotion_lightning.evaluation.metrics import PADDING
from emotion_lightning.output import output_folder
from emotion_lightning.schedule import augmentation_phase
from emotion_lightning.seeding import derive_seed

Sample = tuple[Tensor, int, int]


@dataclass(frozen=True)
class FaceDataset(Dataset[Sample]):
    """Images by their position in the manifest, resized to a square; it knows neither epoch nor randomness.

    Args:
        read: Reads the image at a position.
        labels: Label of each position.
        size: Side of the square in pixels.
    """

    read: Callable[[int], Image.Image]
    labels: Sequence[int]
    size: int

    def __getitem__(self, index: int) -> Sample:
        """Return image uint8 ``(3, size, size)``, label and position; for padding, a black image with its label."""
        if index == PADDING:
            return torch.zeros(3, self.size, self.size, dtype=torch.uint8), PADDING, PADDING
        return to_tensor(self.read(index), self.size), self.labels[index], index


class EmotionDataModule(LightningDataModule):
    """Face images by emotion, from any folder or file layout that the README names.

    Args:
        root: Folder of the images, or a fer2013.csv file; by default faces are drawn and nothing is read.
        image_size: Side of the network's square input in pixels.
        batch_size: Training images per step and device; evaluation takes twice as many.
        num_workers: Processes that read images, per device; by default one less than it has cores, at most 8.
        seed: Seed of everything random in a run.
        unreadable: What to do about images that cannot be decoded: error lists them and stops, skip leaves them out.
        splits: CSV file with filepath, label and split to use instead of the splits found, such as a run's splits.csv.
        test_split: Split that test measures.
        format: How the data under root is kept; auto finds it by looking.
        merge: Classes to merge, such as {happy: [happy, contempt]}: a new name, and the classes that become it.
        drop: Classes whose images are left out, such as [contempt].
        group: Regular expression whose first group, or that named subject, is searched in the path of each image below
            root; a cut keeps images together in which it finds the same.
        class_names: Emotions in the order of their labels; by default as the data has them, merged and dropped.
        finetune_epoch: Epoch from which augmentation is aggressive. On the command line it is the first unfreezing.

    Raises:
        DataError: The data is not as it should be; the message says what and where.
        UsageError: A number is outside its range.
    """

    def __init__(
        self,
        root: str | None = None,
        image_size: int = 224,
        batch_size: int = 16,
        num_workers: int | None = None,
        seed: int = 42,
        unreadable: Literal["error", "skip"] = "error",
        splits: str | None = None,
        test_split: Literal["train", "val", "test"] = "test",
        format: Format = "auto",
        merge: dict[str, list[str]] | None = None,
        drop: list[str] | None = None,
        group: str | None = None,
        class_names: list[str] | None = None,
        finetune_epoch: int | None = 10,
    ):
        super().__init__()
        for name, value, least in (
            ("image_size", image_size, 16),
            ("batch_size", batch_size, 2),  # batch norm needs two
            ("num_workers", num_workers or 0, 0),
        ):
            if value < least:
                raise UsageError(f"--data.{name} {value} is too small; the least is {least}")
        self.save_hyperparameters(ignore="class_names")  # resolved, they are the model's
        self._given_names = None if class_names is None else list(class_names)
        self.root = None if root is None else Path(root).expanduser()
        self.image_size, self.batch_size, self.seed = image_size, batch_size, seed
        self.num_workers = num_workers
        self.unreadable, self.test_split, self.finetune_epoch = unreadable, test_split, finetune_epoch
        self.splits_file = None if splits is None else Path(splits).expanduser()
        self._reading: dict[str, Any] = {"format": format, "merge": merge, "drop": drop or (), "group": group}
        self.first_epoch = 0
        self._skipped: set[int] = set()
        self._unpredictable: set[int] = set()
        self._checked: set[Split] = set()

    @cached_property
    def manifest(self) -> Manifest:
        """Every image with its label and split."""
        if self.root is not None:
            return read_manifest(self.root, self.seed, self._given_names, self.splits_file, **self._reading)
        if given := [name for name, value in self._reading.items() if value and value != "auto"]:
            raise UsageError(f"--data.{given[0]} is for data of your own: give --data.root")
        return builtin_manifest(self.seed, self._given_names)

    @cached_property
    def predicted(self) -> Files:
        """Every image under ``root``, labelled or not."""
        if self.root is None:
            raise UsageError("--data.root is missing: give the folder or file of the images to predict")
        return find_images(self.root)

    @cached_property
    def _fingerprint(self) -> str:
        return self.manifest.fingerprint()

    @property
    def class_names(self) -> list[str]:
        """Names of the emotions in the order of the labels."""
        return list(self._given_names or self.manifest.class_names)

    def indices(self, split: Split) -> list[int]:
        """Positions of the images of ``split`` that are used."""
        return [index for index in self.manifest.indices(split) if index not in self._skipped]

    def setup(self, stage: str) -> None:
        """Check what the stage needs before it starts: its splits, and that every image can be read.

        Raises:
            DataError: A split is empty or an image cannot be read.
        """
        if stage == "predict":
            paths = self.predicted.paths
            self._unpredictable = self._unreadable(paths, range(len(paths)))
            return
        needed: dict[str, tuple[Split, ...]] = {
            "fit": ("train", "val"),
            "validate": ("val",),
            "test": (self.test_split,),
        }
        if not self._checked:
            rank_zero_info(f"Data: {self.manifest.describe()}")
        self._check(needed[stage])
        if stage == "fit":
            self.first_epoch = 0
            self._check_batches()

    def train_dataloader(self) -> DataLoader[Sample]:
        """Shuffled batches of the training split; the last incomplete one is dropped."""
        self._save_cut()  # not before a resume has found the data to be what it was
        rank, world_size = self._ranks()
        sampler = ShuffledSampler(self.indices("train"), self.seed, self.first_epoch, rank, world_size)
        dataset = FaceDataset(self.manifest.read, self.manifest.labels, stored_size(self.image_size))
        return self._loader(dataset, sampler, self.batch_size, drop_last=True)

    def val_dataloader(self) -> DataLoader[Sample]:
        """The validation split in order."""
        return self._evaluation_loader("val")

    def test_dataloader(self) -> DataLoader[Sample]:
        """The split that test measures, in order."""
        return self._evaluation_loader(self.test_split)

    def predict_dataloader(self) -> DataLoader[Sample]:
        """Every readable image under ``root`` in order, labelled as padding."""
        paths = self.predicted.paths
        dataset = FaceDataset(self.predicted, [PADDING] * len(paths), self.image_size)
        indices = [index for index in range(len(paths)) if index not in self._unpredictable]
        return self._loader(dataset, SequentialSampler(indices, *self._ranks()), 2 * self.batch_size)

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Draw the augmentation of a training batch on the host."""
        images, labels, indices = batch
        if not self._training():
            return batch
        seed = derive_seed(self.seed, "augment", self._epoch())
        return images, labels, indices, draw(indices, seed)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Augment a training batch by the epoch's phase, only normalise any other; all on the device."""
        if not self._training():
            images, labels, indices = batch
            return normalise(images.float() / 255), labels, indices
        images, labels, indices, drawn = batch
        phase = PHASES[augmentation_phase(self._epoch(), self.finetune_epoch)]
        return augment(images, drawn, phase, self.image_size), labels, indices

    def state_dict(self) -> dict[str, Any]:
        """Save the epoch that comes next, which the shuffling needs, and what the data was."""
        return {
            "next_epoch": self._epoch() + 1,
            "root": _resolved(self.root),
            "splits": _resolved(self.splits_file),
            "data": self._fingerprint,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue behind the epochs already trained.

        Raises:
            DataError: The data changed so that a resume, or a test split cut anew, would not be what it was.
        """
        same_root = state_dict["root"] == _resolved(self.root)
        fitting = self.trainer is not None and self.trainer.state.fn == "fit"
        predicting = self.trainer is not None and self.trainer.state.fn == "predict"
        if fitting:
            self.first_epoch = state_dict["next_epoch"]
        if predicting or not (fitting or same_root) or self._fingerprint == state_dict["data"]:
            return
        if fitting or self.manifest.cut:
            raise DataError(
                f"the images under {self.root} or their splits are not those that the checkpoint was trained with; "
                "give --data.splits the splits.csv of its run, or start a new run"
            )

    def _evaluation_loader(self, split: Split) -> DataLoader[Sample]:
        dataset = FaceDataset(self.manifest.read, self.manifest.labels, self.image_size)
        return self._loader(dataset, SequentialSampler(self.indices(split), *self._ranks()), 2 * self.batch_size)

    def _loader(
        self,
        dataset: FaceDataset,
        sampler: ShuffledSampler | SequentialSampler,
        batch_size: int,
        drop_last: bool = False,
    ) -> DataLoader[Sample]:
        workers = self.num_workers
        if workers is None:  # one core of each process is for training
            processes = self.trainer.num_devices if self.trainer is not None else 1
            workers = min(8, max(0, (os.cpu_count() or 1) // processes - 1))
        return DataLoader(
            dataset,
            batch_size=batch_size,
            sampler=sampler,
            drop_last=drop_last,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=torch.cuda.is_available(),
            generator=torch.Generator(),  # or every new iterator would draw from the generator that dropout uses
        )

    def _check(self, splits: Sequence[Split]) -> None:
        new = [split for split in splits if split not in self._checked]
        for split in new:
            if not self.manifest.indices(split):
                raise DataError(_missing_split(split, self.root))
        paths = self.manifest.paths
        if paths is not None and new:
            self._skipped |= self._unreadable(paths, [i for split in new for i in self.manifest.indices(split)])
        for split in new:
            if not self.indices(split):
                raise DataError(f"no image of the {split} split of {self.root} can be read")
        self._checked.update(new)

    def _unreadable(self, paths: Sequence[Path], indices: Sequence[int]) -> set[int]:
        broken: dict[Path, str] = {}
        if self._ranks()[0] == 0:  # the others wait, and are told
            broken = find_unreadable(tuple(dict.fromkeys(paths[index] for index in indices)))
        if self.trainer is not None:
            broken = self.trainer.strategy.broadcast(broken)
        if not broken:
            return set()
        listing = "".join(f"\n  {path}: {reason}" for path, reason in broken.items())
        if self.unreadable == "error":
            raise DataError(
                f"{len(broken)} unreadable image(s); mend or remove them, or leave them out by "
                f"--data.unreadable skip:{listing}"
            )
        rank_zero_info(f"Data: {len(broken)} unreadable image(s) left out:{listing}")
        return {index for index in indices if paths[index] in broken}

    def _check_batches(self) -> None:
        counts = dict.fromkeys(self.class_names, 0)
        for index in self.indices("train"):
            counts[self.class_names[self.manifest.labels[index]]] += 1
        empty = [name for name, count in counts.items() if count == 0]
        if empty:
            raise DataError(
                f"class '{empty[0]}' has no readable training image under {self.root}: add some or remove it"
            )
        per_rank = sum(counts.values()) // self._ranks()[1]
        if per_rank < self.batch_size:
            raise UsageError(
                f"--data.batch_size {self.batch_size} is more than the {per_rank} training images per device"
            )

    def _save_cut(self) -> None:
        if self.trainer is None or not self.manifest.cut or self.root is None:
            return
        path = output_folder(self.trainer) / "splits.csv"
        if self.trainer.is_global_zero and not self.trainer.fast_dev_run and not path.is_file():  # type: ignore[attr-defined]
            write_splits(self.manifest, path)

    def _training(self) -> bool:
        return self.trainer is not None and self.trainer.training

    def _epoch(self) -> int:
        return self.trainer.current_epoch if self.trainer is not None else 0

    def _ranks(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer is not None else (0, 1)


def _resolved(path: Path | None) -> str | None:
    return None if path is None else str(path.resolve())


def _missing_split(split: Split, root: Path | None) -> str:
    if split != "test":
        return f"{root} has no {split} images"
    return (
        f"{root} has no test images: add a test split, or measure the validation split by --data.test_split val "
        "(it chose the checkpoint, so its figures flatter)"
    )
