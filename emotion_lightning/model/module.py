"""The LightningModule: mix, backbone, classifier, loss."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, get_args

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer
from torchmetrics import Metric

from emotion_lightning.batch import Batch
from emotion_lightning.errors import DataError, UsageError, check_choice
from emotion_lightning.evaluation.metrics import logged_metrics
from emotion_lightning.evaluation.outputs import OutputCollector
from emotion_lightning.evaluation.running import ConfusionMetric, FiniteMean, go_on_from, sums_of
from emotion_lightning.model.backbone import BatchNormMode, resolve_batch_norm
from emotion_lightning.model.head import Head
from emotion_lightning.model.inputs import as_batch
from emotion_lightning.model.mix import MixedLabels, MixUpCutMix
from emotion_lightning.model.network import EmotionNetwork
from emotion_lightning.model.optim import LRSchedule, build_optimizer, build_scheduler, planned_steps
from emotion_lightning.model.tta import TTA, tta_logits
from emotion_lightning.model.weights import find_weights
from emotion_lightning.runs.checkpoint_io import install
from emotion_lightning.runs.config import of_checkpoint
from emotion_lightning.runs.loading import checked_file
from emotion_lightning.runs.schema import check_training
from emotion_lightning.runtime.ranks import of_all_ranks
from emotion_lightning.seeding import derive_seed

EPOCH_SO_FAR = "epoch_so_far"
"""Key of a checkpoint for what the metrics of its epoch have summed up, on each rank."""


class EmotionClassifier(EmotionNetwork, LightningModule):
    """A timm backbone and the recipe's classifier, trained with MixUp/CutMix, AdamW and OneCycle.

    Args:
        class_names: Names of the emotions in the order of the labels. On the command line they come from the data.
        backbone: Name of a timm model.
        pretrained: true for timm's ImageNet weights, false for none, or a .safetensors or .pth file.
        batch_norm: What BatchNorm in an unfrozen stage normalizes with: train, each batch's own statistics, which it
            averages for evaluation; frozen, the statistics of the pretrained weights, which it keeps; auto, frozen for
            pretrained weights whose lr_backbone is at most 1e-4, train otherwise. Its weight and bias train either
            way. The classifier's BatchNorm is not meant.
        mean: Mean of red, green and blue in [0, 1] that is taken from images; by default what timm's weights of the
            backbone were trained with.
        std: Standard deviation of red, green and blue that images are divided by; by default as the mean.
        head: The classifier: enhanced, the recipe's, with BatchNorm, dropout and a hidden layer; or linear, one layer,
            to which dropout_rate and hidden_features do not apply.
        dropout_rate: Dropout before the classifier's first layer, in [0, 1); half of it before the second.
        hidden_features: Width of the classifier's hidden layer.
        lr_backbone: Peak learning rate of the stages of the backbone.
        lr_classifier: Peak learning rate of the classifier.
        weight_decay: AdamW's decoupled weight decay.
        eps: AdamW's epsilon.
        lr_schedule: Course of the rates over the run: one_cycle rises to the peak and then anneals by cosine; cosine
            anneals from the first step on; constant keeps the peak.
        pct_start: Fraction of the run in which OneCycle rises, in (0, 1).
        label_smoothing: Share of the target spread evenly over all classes, in [0, 1).
        mixup_alpha: Parameter of MixUp's beta distribution; 0 leaves MixUp out.
        cutmix_alpha: Parameter of CutMix's beta distribution; 0 leaves CutMix out.
        mix_prob: Probability that a batch is mixed, in [0, 1].
        tta: Views that are averaged wherever the model is measured or predicts: none, flip (the image and its mirror
            image) or tencrop (four corners, the middle and their mirror images).
        compile: Let torch.compile write kernels for the backbone while training; it does so anew whenever stages are
            unfrozen, which takes from seconds to minutes. It needs a C++ compiler, on a GPU Triton.
        input_size: Side of the images in pixels, for backbones that timm builds for one size, as it does many vision
            transformers; by default that size. On the command line it is that of the data.
        seed: Seed of mixing and dropout. On the command line it is that of the data.

    Raises:
        DataError: The pretrained weights are missing, damaged or cannot be fetched.
        UsageError: An unknown backbone, or a number outside its range; when training starts, nothing to compile with.
    """

    def __init__(
        self,
        class_names: list[str],
        backbone: str = "resnet50",
        pretrained: bool | str = True,
        batch_norm: BatchNormMode = "auto",
        mean: list[float] | None = None,
        std: list[float] | None = None,
        head: Head = "enhanced",
        dropout_rate: float = 0.5,
        hidden_features: int = 512,
        lr_backbone: float = 1e-5,
        lr_classifier: float = 1e-3,
        weight_decay: float = 0.01,
        eps: float = 1e-8,
        lr_schedule: LRSchedule = "one_cycle",
        pct_start: float = 0.1,
        label_smoothing: float = 0.1,
        mixup_alpha: float = 0.3,
        cutmix_alpha: float = 1.0,
        mix_prob: float = 0.8,
        tta: TTA = "none",
        compile: bool = False,
        input_size: int | None = None,
        seed: int = 42,
    ):
        super().__init__()
        class_names = list(class_names)
        self.save_hyperparameters()
        _check_ranges(self.hparams)
        # resolved, as a checkpoint is restored without its pretrained weights
        self.hparams["batch_norm"] = resolve_batch_norm(batch_norm, bool(pretrained), lr_backbone)
        self.build(find_weights(backbone, pretrained))
        self._resumed: Mapping[str, Any] | None
        self._compiled_for: set[str] = set()
        self._resuming, self._resumed = False, None  # a checkpoint, until its states are taken up
        self._position = 0
        self._rates: dict[str, float] = {}
        self.mix = MixUpCutMix(mixup_alpha, cutmix_alpha, mix_prob)
        self.train_scores = ConfusionMetric(len(class_names))
        self.val_outputs, self.test_outputs = OutputCollector(), OutputCollector()
        self.gradient_norm = FiniteMean()
        self.last_gradient_norm: Tensor | None = None
        self.logit_adjustment: Tensor
        self.register_buffer("logit_adjustment", torch.zeros(len(class_names)), persistent=False)
        self.to(memory_format=torch.channels_last)

    @classmethod
    def load_from_checkpoint(cls, checkpoint_path: str | Path, **kwargs: Any) -> Self:  # type: ignore[override]
        """Restore a trained classifier in evaluation mode, without network and without running code from the file.

        Args:
            checkpoint_path: A ``.ckpt`` file; addresses are not fetched.
            kwargs: Hyper-parameters to override, and ``map_location``.

        Raises:
            DataError: The file is missing or damaged, would run code, or does not go with the hyper-parameters.
        """
        options = {"pretrained": False} | kwargs | {"weights_only": True}
        with checked_file(checkpoint_path, "`ckpt_path`") as (file, _), of_checkpoint(checkpoint_path):
            model: Self = super().load_from_checkpoint(file, **options)
        return model.eval()

    def setup(self, stage: str) -> None:
        """Load checkpoints as data alone, compile the backbone if it is to be, and let a restored model train."""
        install(self.trainer)
        self._resuming = stage == "fit"  # what is loaded until it starts is what it goes on from
        if stage == "fit":
            self.check_fit(self.trainer)
            if not self.training:
                self.train()
        if stage == "fit" and self.hparams["compile"]:
            self.backbone.compile()  # in place: names in a checkpoint stay as they are

    def check_fit(self, trainer: Trainer) -> None:
        """Refuse a run without an epoch, or without an end.

        Raises:
            UsageError: It is one.
        """
        if 0 in (trainer.max_epochs, trainer.max_steps):
            raise UsageError("`max_epochs=0` trains nothing; give at least 1")
        if trainer.max_epochs == -1 and trainer.max_steps == -1:
            raise UsageError("`max_epochs` gives no end: OneCycle is planned for a run of known length")

    def match_data(self, stage: str, class_names: Sequence[str], seed: int, logit_adjustment: Tensor | None) -> None:
        """Refuse data that does not go with the model, before anything is trained or measured.

        Args:
            stage: fit, validate or test; all but the classes matter in fit alone.
            class_names: Names of the data's classes in the order of its labels.
            seed: Seed of the data.
            logit_adjustment: What the loss adds to the logits to make up for rare classes, ``(classes,)``; None for
                nothing.

        Raises:
            DataError: The classes are not the model's.
            UsageError: The seed is not the model's.
        """
        if list(class_names) != self.class_names:
            raise DataError(
                f"the model has classes {self.class_names}, the data {list(class_names)}: give the data the model's "
                "class_names"
            )
        if stage != "fit":
            return
        if seed != self.hparams["seed"]:
            raise UsageError(f"the model has seed {self.hparams['seed']}, the data {seed}: give both the same")
        self.logit_adjustment.copy_(torch.zeros(len(class_names)) if logit_adjustment is None else logit_adjustment)

    def stage_parameters(self) -> dict[str, list[nn.Parameter]]:
        """Parameters of every stage, from the stem to the classifier."""
        return {**self.backbone.stage_parameters(), "classifier": list(self.classifier.parameters())}

    def set_trainable(self, stages: Iterable[str]) -> None:
        """Let exactly ``stages`` train; the others keep weights and BatchNorm statistics to the bit."""
        stages = set(stages)
        if self.hparams["compile"] and stages != self._compiled_for:
            torch.compiler.reset()  # also the count of variants, which torch bounds
            self._compiled_for = stages
        self.training = True  # also where it was restored, in evaluation mode
        self.backbone.set_trainable(stages)
        self.classifier.requires_grad_("classifier" in stages).train("classifier" in stages)

    def on_fit_start(self) -> None:
        """See that the states of a checkpoint go with this training, before they are taken up."""
        checkpoint, self._resumed, self._resuming = self._resumed, None, False
        if checkpoint is not None:
            with of_checkpoint(str(self.trainer.ckpt_path)):
                check_training(checkpoint, self.trainer)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Build AdamW and its schedule for the whole run, every stage included."""
        h = self.hparams
        optimizer = build_optimizer(
            self.stage_parameters(), h["lr_backbone"], h["lr_classifier"], h["weight_decay"], h["eps"]
        )
        steps = int(self.trainer.estimated_stepping_batches)
        scheduler = build_scheduler(optimizer, steps, h["pct_start"], h["lr_schedule"])
        self._total_steps = planned_steps(scheduler)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip as the trainer says, and keep the norm that the gradients had before.

        A fused optimizer steps over gradients that overflowed without asking the host. Lightning leaves their scale to
        it, and so refuses to clip; torch lets it be taken off before.
        """
        scaler = getattr(self.trainer.precision_plugin, "scaler", None) if optimizer.defaults.get("fused") else None
        if scaler is not None:
            scaler.unscale_(optimizer)
        parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        norm = nn.utils.get_total_norm([p.grad for p in parameters])
        self.last_gradient_norm = norm
        self.gradient_norm.update(norm)  # a step whose gradients overflowed is not taken, and does not count
        if gradient_clip_val and gradient_clip_algorithm == "value":
            nn.utils.clip_grad_value_(parameters, gradient_clip_val)
        elif gradient_clip_val:
            nn.utils.clip_grads_with_norm_(parameters, gradient_clip_val, norm)

    def on_train_start(self) -> None:
        """Refuse a resume under another schedule: the rates would follow the old one, or run past its end."""
        steps = planned_steps(self.trainer.lr_scheduler_configs[0].scheduler)
        if steps != self._total_steps:
            raise UsageError(
                f"the checkpoint's run has {steps} steps, this one {self._total_steps}: a resume must keep max_epochs, "
                "the batch size, the devices and the training images; or start a new run"
            )

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Note the learning rates of the step; after it, the schedule sets those of the next."""
        self._rates = {group["name"]: group["lr"] for group in optimizer.param_groups}

    def on_train_epoch_start(self) -> None:
        """Begin the sums of an epoch; within one, a resume goes on with those of its checkpoint."""
        self.train_scores.reset()
        self.gradient_norm.reset()

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Make dropout a function of (seed, epoch, batch, rank), so that a resume draws what would have been drawn."""
        torch.manual_seed(derive_seed(self.hparams["seed"], "dropout", self.current_epoch, batch_idx, self.global_rank))

    def mixed(self, images: Tensor, labels: Tensor, batch_idx: int) -> tuple[Tensor, MixedLabels]:
        """Mix a batch of this epoch as training does."""
        seed = derive_seed(self.hparams["seed"], "mix", self.current_epoch, batch_idx, self.global_rank)
        return self.mix(images, labels, seed)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Mix, classify and return the mean loss.

        The loss is not logged for the progress bar, for which Lightning would read it from the device in each step.
        """
        images, labels, _ = as_batch(batch, 0, classes=len(self.class_names), normalization=self.normalization)
        images, targets = self.mixed(images, labels, batch_idx)
        logits = self(images).float()
        losses = targets.cross_entropy(logits + self.logit_adjustment, self.hparams["label_smoothing"])
        self.train_scores.update(logits.detach(), targets.dominant, losses.detach())
        loss = losses.mean()
        self.log("train/loss_step", loss, on_step=True, on_epoch=False)  # read every log_every_n_steps only
        return loss

    def on_train_epoch_end(self) -> None:
        """Log metrics, a mixed image counted by its dominant label, the last step's rates, the mean gradient norm."""
        self.log_dict(logged_metrics(*self.train_scores.compute(), self.class_names, "train", suffix="_dominant"))
        self.log_dict({f"lr/{stage}": rate for stage, rate in self._rates.items()})
        self.log("train/gradient_norm", self.gradient_norm.compute())

    def on_validation_epoch_start(self) -> None:
        """Forget the outputs of the last validation."""
        self.val_outputs.reset()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Classify a validation batch."""
        self._evaluate(batch, batch_idx, self.val_outputs)

    def on_validation_epoch_end(self) -> None:
        """Log the validation metrics."""
        self._log_evaluation(self.val_outputs, "val")

    def on_test_epoch_start(self) -> None:
        """Forget the outputs of the last test."""
        self.test_outputs.reset()

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """Classify a test batch."""
        self._evaluate(batch, batch_idx, self.test_outputs)

    def on_test_epoch_end(self) -> None:
        """Log the test metrics."""
        self._log_evaluation(self.test_outputs, "test")

    def predict_step(self, batch: Any, batch_idx: int) -> tuple[Tensor, Tensor]:
        """Return the calibrated probabilities ``(B, classes)`` and the images' positions ``(B,)``."""
        images, _, indices = self._batch(batch, batch_idx, labeled=False)
        return self.probabilities(images, self.hparams["tta"]), indices

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save the temperature and the threshold, which belong to the weights as they were validated, and the epoch's
        sums so far, of every rank.
        """
        checkpoint[EPOCH_SO_FAR] = {"rates": self._rates, "sums": of_all_ranks(sums_of(self._running))}
        threshold = None if self.threshold is None else self.threshold._asdict()
        checkpoint["calibration"] = {
            "temperature": self.temperature,
            "tta": self.temperature_tta,
            "threshold": threshold,
        }

    def on_load_checkpoint(self, checkpoint: Mapping[str, Any]) -> None:
        """Refuse a checkpoint of other classes; take up its temperature, threshold, what normalized its images, and the
        sums of the epoch that it was saved in.
        """
        theirs = list(checkpoint["hyper_parameters"]["class_names"])
        if theirs != self.class_names:
            raise DataError(f"the checkpoint was trained on the classes {theirs}, the data has {self.class_names}")
        self.take_up(checkpoint)
        if self._resuming:
            self._resumed = checkpoint
        if so_far := checkpoint.get(EPOCH_SO_FAR):  # which version 0.1 did not have
            self._rates = dict(so_far["rates"])
            mine = {name: ranks[self.global_rank % len(ranks)] for name, ranks in so_far["sums"].items()}
            go_on_from(self._running, mine)

    def to_torchscript(
        self,
        file_path: str | Path | None = None,
        method: str | None = "script",
        example_inputs: Any | None = None,
        **kwargs: Any,
    ) -> Any:
        """Trace the network in evaluation mode, as Lightning does; TorchScript cannot compile its code.

        Raises:
            UsageError: ``method`` is not ``trace``.
        """
        if method != "trace":
            raise UsageError(
                "TorchScript cannot compile a network that is frozen in stages: give method='trace' and "
                "example_inputs=images, or use torch.export.export(model.eval(), (images,))"
            )
        return super().to_torchscript(file_path, method, example_inputs, **kwargs)

    @property
    def _running(self) -> dict[str, Metric]:
        return {"train_scores": self.train_scores, "gradient_norm": self.gradient_norm}

    def _batch(self, batch: Any, batch_idx: int, labeled: bool = True) -> Batch:
        """Take a batch of any loader; images that come without a position are counted."""
        self._position = 0 if batch_idx == 0 else self._position
        found = as_batch(batch, self._position, labeled, len(self.class_names), self.normalization)
        self._position += len(found[0])
        return found

    def _evaluate(self, batch: Any, batch_idx: int, collector: OutputCollector) -> None:
        images, labels, indices = self._batch(batch, batch_idx)
        collector.update(tta_logits(self, images, self.hparams["tta"]), labels, indices)

    def _log_evaluation(self, collector: OutputCollector, split: str) -> None:
        outputs = collector.outputs()  # asks all ranks
        metrics = logged_metrics(outputs.confusion, outputs.losses.mean().item(), self.class_names, split)
        shown = (f"{split}/f1_macro", f"{split}/accuracy")
        self.log_dict({name: value for name, value in metrics.items() if name not in shown})
        self.log_dict({name: metrics[name] for name in shown}, prog_bar=True)


def _check_ranges(hparams: Mapping[str, Any]) -> None:
    for name in ("dropout_rate", "label_smoothing"):
        if not 0 <= hparams[name] < 1:
            raise UsageError(f"`{name}` {hparams[name]} is not in [0, 1)")
    for name in ("mixup_alpha", "cutmix_alpha", "weight_decay"):
        if hparams[name] < 0:
            raise UsageError(f"`{name}` {hparams[name]} is negative")
    for name in ("lr_backbone", "lr_classifier", "eps"):
        if hparams[name] <= 0:
            raise UsageError(f"`{name}` {hparams[name]} must be above 0")
    if hparams["hidden_features"] < 1:
        raise UsageError(f"`hidden_features` {hparams['hidden_features']} is below 1")
    check_choice("tta", hparams["tta"], get_args(TTA))
    check_choice("batch_norm", hparams["batch_norm"], get_args(BatchNormMode))
    check_choice("lr_schedule", hparams["lr_schedule"], get_args(LRSchedule))
    check_choice("head", hparams["head"], get_args(Head))
    if not 0 <= hparams["mix_prob"] <= 1:
        raise UsageError(f"`mix_prob` {hparams['mix_prob']} is not in [0, 1]")
    if not 0 < hparams["pct_start"] < 1:
        raise UsageError(f"`pct_start` {hparams['pct_start']} is not in (0, 1)")
    for name, known in (("mean", lambda value: 0 <= value <= 1), ("std", lambda value: 0 < value <= 1)):
        values = hparams[name]
        if values is not None and not (len(values) == 3 and all(map(known, values))):
            wanted = "(0, 1]" if name == "std" else "[0, 1]"
            raise UsageError(f"`{name}` {list(values)} is not three numbers in {wanted}, for red, green and blue")
    if len(hparams["class_names"]) < 2:
        raise UsageError(f"at least two classes are needed, the data has {list(hparams['class_names'])}")
