"""The LightningDataModule: its options, what it checks before a stage, and what a resume needs."""

import hashlib
import os
import warnings
from collections.abc import Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from lightning.pytorch.utilities import rank_zero_info

from emotion_lightning.data.audit.checks import check_usable
from emotion_lightning.data.audit.coverage import votes_note
from emotion_lightning.data.audit.exposure import Exposure
from emotion_lightning.data.audit.face_data import FaceData
from emotion_lightning.data.audit.policy import Policies, Policy, policy_messages
from emotion_lightning.data.images.region import file_name
from emotion_lightning.data.loaders import RECIPE_BATCH, FerPlus
from emotion_lightning.data.measured import MeasuredFaces, resolved
from emotion_lightning.data.sources.folder import unread_message
from emotion_lightning.data.sources.layouts import FORMATS, Format
from emotion_lightning.data.sources.manifest import SPLITS, Split
from emotion_lightning.data.sources.splits import Fold
from emotion_lightning.errors import DataError, UsageError, check_choice, check_least
from emotion_lightning.runtime.position import next_batch
from emotion_lightning.runtime.ranks import on_every_rank
from emotion_lightning.schedule import (
    LEAST_SIDE,
    RECIPE_SCHEDULE,
    Augmentation,
    parse_resolutions,
    unfreeze_epoch,
    warn_unreached,
)


class EmotionDataModule(MeasuredFaces):
    """Face images by emotion, from any folder or file layout that docs/data.md names.

    Args:
        root: Folder of the images, or a fer2013.csv file; by default faces are drawn and nothing is read.
        image_size: Side of the network's square input in pixels.
        resolution_schedule: Epoch (from 0) to the side in pixels that training images have from then on, at most
            image_size, at which the network is evaluated throughout (progressive resizing; Touvron et al., 2019,
            FixRes); by default all have image_size.
        augmentation: How training images are varied: progressive, the recipe's, conservative until the first unfreezing
            and aggressive from then on; one of these two throughout; or basic, horizontal flips alone.
        batch_size: Training images per batch and device; auto takes the largest power of two whose training step fits
            into 85 % of a GPU's free memory, at most 1024 and an eighth of its images; without a GPU it takes 16.
        eval_batch_size: Images per batch and device in evaluation, on which no result depends; auto takes twice the
            training batch.
        num_workers: Processes that read images, per device; by default one less than it has cores, at most 8.
        seed: Seed of everything random in training: order, augmentation and what balance draws. On the command line it
            is that of the run.
        split_seed: Seed of the cut of splits and folds, which stays the same when the run's seed changes; of the
            built-in faces; and of the part of a split that limited batches measure.
        folds: Number of equal parts into which all images but those of a test split are cut, stratified and with groups
            whole, in place of the train and val splits; by default none.
        fold: Which of the folds, counted from 0, is the validation split; the others are trained on.
        unreadable: What to do about images that cannot be decoded: error lists them and stops, skip leaves them out.
        leaks: What to do about images of which a copy stands in another split: report says so, drop leaves out the
            copy in the earlier split (never a test image), error stops.
        conflicts: What to do about identical images with different labels: report says so, drop leaves them out of
            training, error stops.
        balance: How rare classes are made up for: none, sampler draws every class equally often, loss adjusts the
            logits in training by the classes' frequencies (Menon et al., 2021).
        fer_plus: What training learns of FER+'s votes: majority, the emotion that most people saw, or probabilities,
            the share of people who saw each. Measured is the majority in any case.
        cache_gb: Most that decoded images may take on disk in GB; 0 switches that cache off.
        corrections: CSV file of corrected labels, as the page of review saves it, which are applied after the cut;
            images that it excludes are left out.
        splits_file: CSV file with filepath, label and split to use instead of the splits found, such as a run's
            splits.csv.
        test_split: Split that test measures.
        layout: How the data under root is kept; auto finds it by looking.
        merge_classes: Classes to merge, such as {happy: [happy, contempt]}: a new name, and the classes that become it.
        drop_classes: Classes whose images are left out, such as [contempt].
        group_regex: Regular expression whose first group, or that named subject, is searched in the path of each image
            below root; a cut keeps images together in which it finds the same.
        allow_outside: Whether tables may name images outside of root and of their own folder, by absolute paths or by
            "..", as those of strangers should not.
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
        augmentation: Augmentation = "progressive",
        batch_size: int | Literal["auto"] = RECIPE_BATCH,
        eval_batch_size: int | Literal["auto"] = "auto",
        num_workers: int | None = None,
        seed: int = 42,
        split_seed: int = 42,
        folds: int | None = None,
        fold: int = 0,
        unreadable: Literal["error", "skip"] = "error",
        leaks: Policy = "report",
        conflicts: Policy = "report",
        balance: Literal["none", "sampler", "loss"] = "none",
        fer_plus: FerPlus = "majority",
        cache_gb: float = 10.0,
        corrections: str | None = None,
        splits_file: str | None = None,
        test_split: Literal["train", "val", "test"] = "test",
        layout: Format = "auto",
        merge_classes: dict[str, list[str]] | None = None,
        drop_classes: list[str] | None = None,
        group_regex: str | None = None,
        allow_outside: bool = False,
        class_names: list[str] | None = None,
        unfreeze_epoch: int | None = unfreeze_epoch(RECIPE_SCHEDULE),
    ):
        check_least("image_size", image_size, LEAST_SIDE)
        check_least("batch_size", 2 if batch_size == "auto" else batch_size, 2)  # batch norm needs two
        check_least("eval_batch_size", 1 if eval_batch_size == "auto" else eval_batch_size, 1)
        check_least("num_workers", num_workers or 0, 0)
        check_least("cache_gb", cache_gb, 0)
        check_least("split_seed", split_seed, 0)
        _check_fold(folds, fold)
        check_choice("augmentation", augmentation, get_args(Augmentation))
        check_choice("unreadable", unreadable, ("error", "skip"))
        check_choice("leaks", leaks, get_args(Policy))
        check_choice("conflicts", conflicts, get_args(Policy))
        check_choice("balance", balance, ("none", "sampler", "loss"))
        check_choice("fer_plus", fer_plus, get_args(FerPlus))
        check_choice("test_split", test_split, SPLITS)
        check_choice("layout", layout, FORMATS)
        splits = None if splits_file is None else Path(splits_file).expanduser()
        faces = FaceData(
            None if root is None else Path(root).expanduser(),
            image_size,
            split_seed,
            cache_gb,
            fold=None if folds is None else Fold(fold, folds),
            corrections=None if corrections is None else Path(corrections).expanduser(),
            class_names=None if class_names is None else list(class_names),
            splits_file=splits,
            layout=layout,
            merge_classes=merge_classes,
            drop_classes=drop_classes or (),
            group_regex=group_regex,
            allow_outside=allow_outside,
        )
        super().__init__(
            faces,
            seed,
            Policies(unreadable, leaks, conflicts),
            parse_resolutions(resolution_schedule, image_size),
            batch_size,
            eval_batch_size,
            num_workers,
            balance,
            fer_plus,
            test_split,
            unfreeze_epoch,
            augmentation,
        )
        self.save_hyperparameters(ignore="class_names")  # resolved, they are the model's
        self.splits_file, self._summary_logged = splits, False

    def setup(self, stage: str) -> None:
        """Check what the stage needs before it starts: its splits, the state of its images, the classes of the model.

        What a model is only measured on may be other data than its own: without a training split, or with other
        classes. Of data without splits all is measured, unless it is that of the model's run.

        Raises:
            DataError: A split is empty, an image cannot be read, or a policy is error and something is wrong; or the
                processes of a run see different data.
        """
        if self.trainer is None:
            self._set_up(stage)
        else:
            on_every_rank(self.trainer, partial(self._set_up, stage))

    def _set_up(self, stage: str) -> str:
        """Check this process's data; return what the data of the others must be equal to."""
        if stage == "predict":
            self._predictable  # noqa: B018  # looks at the images now, not when the loader is made
            return ""
        self._unchecked = stage
        if stage != "fit":
            self._measure_only()
        if stage == "fit" or self.trainer is None:
            self._check_once()
        if stage == "fit":
            self.next_epoch, self.next_batch = 0, 0
            self.exposure = Exposure(self.manifest, self.audit, self.policies)
        if self.trainer is None:
            return ""
        if stage == "fit":
            warn_unreached("resolution_schedule", self.resolutions, self.trainer)
        if match_data := getattr(self.trainer.lightning_module, "match_data", None):
            # the adjustment is for training, and would read the data before a checkpoint has said what its own was
            match_data(stage, self.class_names, self.seed, self.logit_adjustment if stage == "fit" else None)
        return self._files_here() if stage == "fit" and self.trainer.world_size > 1 else ""

    def _files_here(self) -> str:
        """What identifies the images, which the first process has told, by names and sizes as this one finds them.

        Raises:
            DataError: A file is missing.
        """
        digest = hashlib.sha256(self._manifest_hash.encode())
        for name in map(file_name, self.manifest.files or ()):
            try:
                digest.update(f"{os.stat(name).st_size} ".encode())
            except OSError as error:
                raise DataError(
                    f"{name}: {error.strerror} for a process of the run, though the first has it: give all machines "
                    "the same files under the same names"
                ) from error
        return digest.hexdigest()

    def check(self, stage: str) -> None:
        """Say what the data is and what is wrong with it, and stop where it cannot be used for ``stage``.

        Raises:
            DataError: As ``setup``.
            UsageError: ``fer_plus`` needs votes, and the data has none.
        """
        votes = None
        if stage == "fit" and self.fer_plus == "probabilities":
            if self.manifest.votes is None:
                raise UsageError(
                    f"`fer_plus=probabilities` needs FER+'s votes, which this data ({self.manifest.layout}) does not "
                    "have: give the folder of fer2013.csv and fer2013new.csv, or leave it out"
                )
            votes = votes_note([self.manifest.votes[index] for index in self.indices("train")])
        splits: dict[str, tuple[Split, ...]] = {
            "fit": ("train", "val"),
            "validate": ("val",),
            "test": (self.test_split,),
        }
        needed = splits[stage]
        if not self._summary_logged:
            messages = [] if self.audit is None else policy_messages(self.audit, self.policies)
            unread = unread_message(self.manifest.unread)
            for line in filter(None, (self.manifest.describe(), unread, votes, *messages)):
                rank_zero_info(f"Data: {line}")
        check_usable(self.exposure, needed, training=stage == "fit", other=self.other)
        if not self._summary_logged:
            self._summary_logged = True
            for note in dict.fromkeys(note for split in needed for note in self.class_notes(split)):
                rank_zero_info(f"Data: {note}")

    def state_dict(self) -> dict[str, Any]:
        """Save which batch comes next, so that a resume goes on in its order, and what the data was."""
        epoch, batch = (0, 0) if self.trainer is None else next_batch(self.trainer)
        return {
            "next_epoch": epoch,
            "next_batch": batch,
            "batch_size": self._training_batch,
            "ranks": self._ranks()[1],
            "root": resolved(self.root),
            "splits": resolved(self.splits_file),
            "corrections": resolved(self.faces.corrections),
            "cut": "by hash",  # version 0.1 cut otherwise; see ``runs.config.splits_of_old_run``
            "data": self._manifest_hash,
            "data_as_given": self.manifest.as_given().fingerprint(),
            "typical_size": self.typical_size()._asdict(),  # says whether the images are crops of faces
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
        if doing != "fit":
            self._recognize(state_dict)
            self._check_once()
        changed = self._manifest_hash != state_dict["data"]
        if doing == "fit":
            self._go_on(state_dict)
            trained_on = self.exposure.state_dict()["trained_on"]
            changed = changed or not torch.equal(trained_on, state_dict.get("trained_on", trained_on))
        else:
            self.exposure = Exposure(self.manifest, self.audit, self.policies, state_dict)
            if before := state_dict.get("data_as_given"):  # corrections may differ, which leave the cut as it is
                changed = self.manifest.as_given().fingerprint() != before
            changed = changed and state_dict["root"] == resolved(self.root) and bool(self.manifest.cut)
        if changed:
            raise DataError(
                f"the images under {self.root}, their labels or splits are not those that the checkpoint was trained "
                "with; give `splits_file` the splits.csv of its run, or start a new run"
            )

    def _go_on(self, state_dict: Mapping[str, Any]) -> None:
        """Begin with the batch that comes next."""
        self.next_epoch, self.next_batch = state_dict["next_epoch"], state_dict.get("next_batch", 0)
        if not self.next_batch:
            return
        for name, now in (("ranks", self._ranks()[1]), ("batch_size", self._training_batch)):
            if now != state_dict[name]:
                raise UsageError(
                    f"the checkpoint was saved within epoch {self.next_epoch + 1} of a run with {name} "
                    f"{state_dict[name]}, this one has {now}: the rest of that epoch would be other images. Keep "
                    "`devices`, `num_nodes` and `batch_size`, or resume from a checkpoint of the end of an epoch"
                )
        warnings.filterwarnings("ignore", "You're resuming from a checkpoint that ended before the epoch ended")

    def identity(self) -> dict[str, Any]:
        """What tells whether other data is the same: a hash over images, labels and splits, and images used of each."""
        images = {split: len(self.indices(split)) for split in SPLITS}
        return {"root": resolved(self.root), "fingerprint": self._manifest_hash, "images": images}

    @cached_property
    def _manifest_hash(self) -> str:
        return self.manifest.fingerprint(self.fer_plus == "probabilities")


def _check_fold(folds: int | None, fold: int) -> None:
    if folds is not None:
        check_least("data.folds", folds, 2)
    if not 0 <= fold < (folds or 1):
        said = "no fold without `data.folds`" if folds is None else f"none of the {folds} folds, which count from 0"
        raise UsageError(f"`data.fold` {fold} is {said}")
