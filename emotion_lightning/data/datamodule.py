"""The LightningDataModule: from a manifest to normalized batches on the device."""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities import rank_zero_info, rank_zero_only, rank_zero_warn
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from emotion_lightning.batch import IGNORE_INDEX, normalize
from emotion_lightning.callbacks.batch_size import RECIPE_BATCH, batch_line, evaluation_batch, training_batch
from emotion_lightning.data.audit.findings import Audit
from emotion_lightning.data.audit.inspection import inspect
from emotion_lightning.data.audit.policy import Policies, Policy, refuse, said, unreadable_message
from emotion_lightning.data.audit.scan import scan
from emotion_lightning.data.audit.seen import Seen
from emotion_lightning.data.audit.summary import everything
from emotion_lightning.data.audit.usage import Usage
from emotion_lightning.data.augment import POLICIES, augment, downscale, resize_size, sample_params
from emotion_lightning.data.dataset import BalancedSampler, FaceDataset, Sample, SequentialSampler, ShuffledSampler
from emotion_lightning.data.images.cache import Cache
from emotion_lightning.data.images.decode import Files, PixelRows
from emotion_lightning.data.sources.builtin import builtin_manifest
from emotion_lightning.data.sources.folder import find_images, other_files
from emotion_lightning.data.sources.layouts import FORMATS, Format
from emotion_lightning.data.sources.manifest import SPLITS, Manifest, Split, read_manifest, write_splits
from emotion_lightning.errors import DataError, UsageError, check_choice
from emotion_lightning.runs.files import write_json
from emotion_lightning.runs.folder import log_dir
from emotion_lightning.schedule import LEAST_SIDE, augmentation_phase, parse_resolutions, training_resolution
from emotion_lightning.seeding import derive_seed


class EmotionDataModule(LightningDataModule):
    """Face images by emotion, from any folder or file layout that the README names.

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
        for name, value, least in (
            ("image_size", image_size, LEAST_SIDE),
            ("batch_size", 2 if batch_size == "auto" else batch_size, 2),  # batch norm needs two
            ("eval_batch_size", 1 if eval_batch_size == "auto" else eval_batch_size, 1),
            ("num_workers", num_workers or 0, 0),
            ("cache_gb", cache_gb, 0),
        ):
            if value < least:
                raise UsageError(f"`{name}` {value} is too small; the least is {least}")
        for name, choice, choices in (
            ("unreadable", unreadable, ("error", "skip")),
            ("leaks", leaks, get_args(Policy)),
            ("conflicts", conflicts, get_args(Policy)),
            ("balance", balance, ("none", "sampler", "loss")),
            ("test_split", test_split, SPLITS),
            ("layout", layout, FORMATS),
        ):
            check_choice(name, choice, choices)
        self.save_hyperparameters(ignore="class_names")  # resolved, they are the model's
        self._given_names = None if class_names is None else list(class_names)
        self.root = None if root is None else Path(root).expanduser()
        self.image_size, self.seed = image_size, seed
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.sizes = parse_resolutions(resolution_schedule, image_size)
        self.num_workers = num_workers
        self.test_split, self.unfreeze_epoch = test_split, unfreeze_epoch
        self.policies, self.balance, self.cache_gb = Policies(unreadable, leaks, conflicts), balance, cache_gb
        self.splits_file = None if splits_file is None else Path(splits_file).expanduser()
        self._reading: dict[str, Any] = {
            "layout": layout,
            "merge_classes": merge_classes,
            "drop_classes": drop_classes or (),
            "group_regex": group_regex,
        }
        self.first_epoch = 0
        self._unpredictable: set[int] = set()
        self._said = False

    @cached_property
    def manifest(self) -> Manifest:
        """Every image with its label and split."""
        if self.root is not None:
            return read_manifest(
                self.root, self.seed, self._given_names, self.splits_file, **self._reading, together=self._together
            )
        if given := [name for name, value in self._reading.items() if value and value != "auto"]:
            raise UsageError(f"`{given[0]}` is for data of your own: give `root`")
        return builtin_manifest(self.seed, self._given_names)

    @cached_property
    def audit(self) -> Audit | None:
        """What is wrong with the data; drawn faces are not looked at."""
        source, cache = self.manifest.read, self._cache
        if self.root is None or cache is None or not isinstance(source, Files | PixelRows):
            return None
        return Audit(self.manifest, *inspect(source, cache, _is_first()), other_files(self.root))

    @cached_property
    def usage(self) -> Usage | None:
        """What the audit means for a run: which images are left out, and which leak."""
        return None if self.audit is None else Usage(self.audit, self.policies)

    @cached_property
    def seen(self) -> Seen:
        """What the model has seen of the images: those of a checkpoint once one is loaded, else this data's."""
        return Seen(self.usage, len(self.manifest))

    def leaked(self, split: Split) -> Tensor | None:
        """Which images of ``split`` the model has seen, or a copy of them, bool ``(N,)``; None if unknown."""
        return self.seen.leaked(split)

    @property
    def state(self) -> dict[str, Any]:
        """What goes with every measurement: what is wrong with the data, and what was done about it."""
        return self.seen.state()

    def flattery(self, split: Split) -> list[str]:
        """Say why figures of ``split`` flatter the model; nothing where it was trained on other data."""
        return self.seen.flattery(split)

    def fingerprint(self, indices: Tensor) -> str | None:
        """What the images at ``indices`` are known by again, whatever they are called; None if nobody has looked."""
        if self.root is None:
            return f"built-in faces of seed {self.seed}"
        return None if self.usage is None else self.usage.fingerprint(indices)

    def faces(self, indices: Sequence[int]) -> Tensor:
        """Images at ``indices`` as evaluation sees them before they are normalized, uint8 ``(n, 3, size, size)``."""
        dataset = self._dataset(self.image_size)
        return torch.stack([dataset[index][0] for index in indices])

    @cached_property
    def predicted(self) -> Files:
        """Every image under ``root``, labelled or not."""
        if self.root is None:
            raise UsageError("`root` is missing: give the folder or file of the images to predict")
        return find_images(self.root)

    @cached_property
    def _fingerprint(self) -> str:
        return self.manifest.fingerprint()

    @property
    def class_names(self) -> list[str]:
        """Names of the emotions in the order of the labels."""
        return list(self._given_names or self.manifest.class_names)

    @property
    def logit_adjustment(self) -> Tensor | None:
        """Logarithm of each class's share of the training images ``(classes,)``, if the loss makes up for it."""
        if self.balance != "loss":
            return None
        counts = torch.tensor(list(self._train_counts().values()), dtype=torch.float)
        return (counts / counts.sum()).log()

    def indices(self, split: Split) -> list[int]:
        """Positions of the images of ``split`` that are used."""
        return self.manifest.indices(split) if self.usage is None else self.usage.used(split)

    def setup(self, stage: str) -> None:
        """Check what the stage needs before it starts: its splits, and the state of its images.

        Raises:
            DataError: A split is empty, an image cannot be read, or a policy is error and something is wrong.
        """
        if stage == "predict":
            self._unpredictable = self._find_unpredictable()
            return
        self._share_audit()
        self.check(stage)
        if stage == "fit":
            self.first_epoch, self.seen = 0, Seen(self.usage, len(self.manifest))
            self._check_sizes()
            self._settle_batches()

    def check(self, stage: str) -> None:
        """Say what the data is and what is wrong with it, and stop where it cannot be used for ``stage``.

        Raises:
            DataError: As ``setup``.
        """
        every: tuple[Split, ...] = SPLITS
        needed = {"fit": every[:2], "validate": every[1:2], "test": (self.test_split,)}[stage]
        for split in needed:
            if not self.manifest.indices(split):
                raise DataError(_missing_split(split, self.root))
        self._say()
        if self.audit is not None:
            refuse(self.audit, self.policies, every if stage == "fit" else needed, stage == "fit")
        for split in needed:
            if not self.indices(split):
                raise DataError(f"no image of the {split} split of {self.root} can be used")

    def train_dataloader(self) -> DataLoader[Sample]:
        """Shuffled batches of the training split; the last incomplete one is dropped."""
        self._save_findings()  # not before a resume has found the data to be what it was
        rank, world_size = self._ranks()
        indices = self.indices("train")
        sampler = ShuffledSampler(indices, self.seed, self.first_epoch, rank, world_size)
        if self.balance == "sampler":
            sampler = BalancedSampler(indices, self.seed, self.first_epoch, rank, world_size, self.manifest.labels)
        return self._loader(self._dataset(self._side(indices)), sampler, self._training_batch, drop_last=True)

    def val_dataloader(self) -> DataLoader[Sample]:
        """The validation split in order."""
        return self._evaluation_loader("val")

    def test_dataloader(self) -> DataLoader[Sample]:
        """The split that test measures, in order."""
        return self._evaluation_loader(self.test_split)

    def predict_dataloader(self) -> DataLoader[Sample]:
        """Every readable image under ``root`` in order, labelled as padding."""
        paths = self.predicted.paths
        dataset = FaceDataset(Files(paths, self.image_size), [IGNORE_INDEX] * len(paths), self.image_size)
        indices = [index for index in range(len(paths)) if index not in self._unpredictable]
        return self._loader(dataset, SequentialSampler(indices, *self._ranks()), self._evaluation_batch)

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Draw the augmentation of a training batch on the host."""
        images, labels, indices = batch
        if not self._training():
            return batch
        drawn = sample_params(indices, derive_seed(self.seed, "augment", self._epoch()))
        # what is not pinned, as the rest of the batch is for a GPU, is waited for
        return images, labels, indices, drawn.pin_memory() if indices.is_pinned() else drawn

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Augment a training batch by the epoch's phase and side, only normalize any other; all on the device."""
        if not self._training():
            images, labels, indices = batch
            return normalize(images.float() / 255), labels, indices
        images, labels, indices, drawn = batch
        phase = POLICIES[augmentation_phase(self._epoch(), self.unfreeze_epoch)]
        side = training_resolution(self.sizes, self._epoch())
        return augment(downscale(images, side), drawn, phase, side), labels, indices

    def state_dict(self) -> dict[str, Any]:
        """Save the epoch that comes next, which the shuffling needs, and what the data was."""
        return {
            "next_epoch": self._epoch() + 1,
            "root": _resolved(self.root),
            "splits": _resolved(self.splits_file),
            "data": self._fingerprint,
            "trained_on": torch.empty(0, dtype=torch.int64) if self.usage is None else self.usage.trained_on(),
            "selected_on": None if self.usage is None else self.usage.selected_on(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue behind the epochs already trained.

        Raises:
            DataError: The data changed so that a resume, or a test split cut anew, would not be what it was.
        """
        doing = None if self.trainer is None else self.trainer.state.fn
        if doing == "predict":
            return
        if doing == "fit":
            self.first_epoch = state_dict["next_epoch"]
        else:
            self.seen = Seen(self.usage, len(self.manifest), state_dict)
        same_root = state_dict["root"] == _resolved(self.root)
        changed = self._fingerprint != state_dict["data"] and (
            doing == "fit" or (same_root and bool(self.manifest.cut))
        )
        if doing == "fit" and self.usage is not None and "trained_on" in state_dict:
            changed = changed or not torch.equal(self.usage.trained_on(), state_dict["trained_on"])
        if changed:
            raise DataError(
                f"the images under {self.root} or their splits are not those that the checkpoint was trained with; "
                "give `splits_file` the splits.csv of its run, or start a new run"
            )

    def _side(self, indices: Sequence[int]) -> int:
        """Side at which training images go to the device: what augmentation needs, or less if all are smaller."""
        side = resize_size(self.image_size)
        if self.audit is None:  # drawn faces
            return side
        found = self.audit.scan
        return min(side, int(np.maximum(found.widths, found.heights)[indices].max()))

    @property
    def _training_batch(self) -> int:
        return RECIPE_BATCH if self.batch_size == "auto" else self.batch_size  # auto until a fit has found it

    @property
    def _evaluation_batch(self) -> int:
        if self.eval_batch_size != "auto":
            return self.eval_batch_size
        return evaluation_batch(self.trainer, self.image_size, self._training_batch)

    def _evaluation_loader(self, split: Split) -> DataLoader[Sample]:
        return self._loader(
            self._dataset(self.image_size),
            SequentialSampler(self.indices(split), *self._ranks()),
            self._evaluation_batch,
        )

    def _dataset(self, size: int) -> FaceDataset:
        read = self._read
        return FaceDataset(replace(read, side=size) if isinstance(read, Files) else read, self.manifest.labels, size)

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

    @cached_property
    def _read(self) -> Callable[[int], Image.Image]:
        """What reads the images for training and evaluation: from the cache, if they are files."""
        cache, paths = self._cache, self.manifest.paths
        if cache is None or paths is None or self.test_split == "train":  # then images are used at two sizes
            return self.manifest.read
        return cache.reader(paths)

    @cached_property
    def _cache(self) -> Cache | None:
        """Cache in which each image is kept for the size at which its split uses it."""
        if self.root is None:
            return None
        sizes = [
            resize_size(self.image_size) if split == "train" else self.image_size for split in self.manifest.splits
        ]
        return Cache(self.root, np.array(sizes, np.int32), self.cache_gb)

    def _together(self, source: Files | PixelRows) -> list[Sequence[str | None]]:
        """What a cut keeps together; each image is kept at both sizes, as its split is not known before."""
        assert self.root is not None
        cache = Cache(self.root, resize_size(self.image_size), self.cache_gb, second=self.image_size)
        return inspect(source, cache, _is_first()).together()

    def _share_audit(self) -> None:
        """Look at the images in one process, and let all others know: what is left out must be the same for all."""
        trainer = self.trainer
        if trainer is None or trainer.world_size == 1 or self.root is None:
            return
        found: Audit | DataError | None = None
        if trainer.is_global_zero:
            try:
                found = self.audit
            except DataError as error:
                found = error
        found = trainer.strategy.broadcast(found)
        if isinstance(found, DataError):
            raise found
        if found is not None:
            self.audit, self.manifest = found, found.manifest

    def _say(self) -> None:
        if self._said:
            return
        self._said = True
        rank_zero_info(f"Data: {self.manifest.describe()}")
        if self.audit is not None:
            for line in said(self.audit, self.policies):
                rank_zero_info(f"Data: {line}")

    def _find_unpredictable(self) -> set[int]:
        paths, found = self.predicted.paths, scan(self.predicted, None, _is_first()).reasons
        broken = {index: reason for index, reason in enumerate(found) if reason is not None}
        reasons = {str(paths[index]): reason for index, reason in broken.items()}
        if broken and self.policies.unreadable == "error":
            raise DataError(unreadable_message(reasons))
        if broken:
            rank_zero_info(f"Data: {unreadable_message(reasons, excluded=True)}")
        return set(broken)

    def _train_counts(self) -> dict[str, int]:
        counts = dict.fromkeys(self.class_names, 0)
        for index in self.indices("train"):
            counts[self.class_names[self.manifest.labels[index]]] += 1
        return counts

    def _check_sizes(self) -> None:
        epochs = None if self.trainer is None else self.trainer.max_epochs
        late = [epoch for epoch in self.sizes if epochs and 0 < epochs <= epoch]
        if late and not self.trainer.fast_dev_run:  # type: ignore[union-attr]
            rank_zero_warn(
                f"`resolution_schedule` has entries at epochs {late}, which a run of `max_epochs` "
                f"{epochs} never reaches"
            )

    def _settle_batches(self) -> None:
        """Find the size of the training batches if it is auto, and say what it means; a resume keeps what was found."""
        self._check_classes()
        found, per_rank = self.batch_size == "auto", len(self.indices("train")) // self._ranks()[1]
        if found and self.trainer is not None:
            self.batch_size = training_batch(self.trainer, max(self.sizes.values()), per_rank)
            self.save_hyperparameters({"batch_size": self.batch_size})
        if per_rank < self._training_batch:
            raise UsageError(
                f"`batch_size` {self._training_batch} is more than the {per_rank} training images per device"
            )
        if self.trainer is not None and (line := batch_line(self.trainer, self._training_batch, found)):
            rank_zero_info(f"Batches: {line}")

    def _check_classes(self) -> None:
        counts = self._train_counts()
        empty = [name for name, count in counts.items() if count == 0]
        if empty:
            raise DataError(
                f"class '{empty[0]}' has no training image under {self.root} that can be used: add some or remove it, "
                "or let `leaks`, `conflicts` and `unreadable` leave out less"
            )

    def _save_findings(self) -> None:
        """Write what a run must be able to look up: splits.csv where they were cut here, and audit.json."""
        if self.trainer is None or self.trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        folder, failure = log_dir(self.trainer), None  # all processes agree on the folder
        if self.trainer.is_global_zero:
            try:
                self._write_findings(folder, resuming=self.trainer.ckpt_path is not None)
            except DataError as error:
                failure = error
        if failure := self.trainer.strategy.broadcast(failure):
            raise failure

    def _write_findings(self, folder: Path, resuming: bool) -> None:
        if self.manifest.cut and self.root is not None and not (folder / "splits.csv").is_file():
            write_splits(self.manifest, folder / "splits.csv")
        if self.audit is not None and not (resuming and (folder / "audit.json").is_file()):
            write_json(folder / "audit.json", everything(self.audit), indent=1)

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
        f"{root} has no test images: add a test split, or measure the validation split by `test_split=val` "
        "(it chose the checkpoint, so its figures flatter)"
    )


def _is_first() -> bool:
    """Say whether this process is the one that talks, before there is a trainer as well."""
    rank: int = getattr(rank_zero_only, "rank", 0)
    return rank == 0
