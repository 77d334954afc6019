"""Hugging Face's Trainer as its image-classification example uses it: torchvision transforms, its own defaults."""

from copy import deepcopy
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from benchmarks.clock import BatchTimer
from benchmarks.peers.network import Pictures, build_network, require_gradients
from benchmarks.peers.notebook import recipe_transform
from benchmarks.peers.ours import silence
from benchmarks.setting import Setting, stages_of


class StopAfter(TrainerCallback):
    """Ends the training with the lap."""

    def __init__(self, lap: BatchTimer) -> None:
        self.lap = lap

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Count the step."""
        control.should_training_stop = self.lap.end_of_step()
        return control


class Classifier(nn.Module):
    """The network as the Trainer calls a model.

    Args:
        network: From images to logits.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.criterion = nn.CrossEntropyLoss(label_smoothing=0.1)

    def forward(self, pixel_values: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return loss and logits."""
        logits = self.network(pixel_values)
        return {"loss": self.criterion(logits, labels), "logits": logits}


class TransformersTrainer:
    """The Trainer; it knows neither mixing nor an average of weights."""

    def __init__(self, setting: Setting) -> None:
        self.setting, self.network = setting, build_network(setting)

    def measure(self, phase: str, lap: BatchTimer) -> None:
        """Train with the stages below those of the phase frozen; their BatchNorm trains."""
        setting, network = self.setting, deepcopy(self.network)
        require_gradients(network, stages_of(phase))
        transform = recipe_transform(1 if phase == "classifier only" else 2, setting.image_size)
        with TemporaryDirectory() as folder, silence():
            Trainer(
                Classifier(network),
                self._arguments(folder),
                data_collator=_collate,
                train_dataset=Pictures(*setting.files(), transform),
                callbacks=[StopAfter(lap)],
            ).train()

    def _arguments(self, folder: str) -> TrainingArguments:
        setting = self.setting
        return TrainingArguments(
            folder,
            num_train_epochs=80,
            per_device_train_batch_size=setting.batch_size,
            learning_rate=1e-3,
            weight_decay=0.01,
            max_grad_norm=1.0,
            lr_scheduler_type="cosine",
            fp16=setting.on_gpu,
            use_cpu=not setting.on_gpu,
            dataloader_num_workers=setting.workers,
            dataloader_drop_last=True,
            remove_unused_columns=False,
            seed=setting.seed,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )


def _collate(examples: list[tuple[Tensor, int]]) -> dict[str, Tensor]:
    images, labels = zip(*examples, strict=True)
    return {"pixel_values": torch.stack(images), "labels": torch.tensor(labels)}
