"""What the hardware gives to our best settings: a bare loop on one batch of random numbers.

Network, loss, clipping, optimizer and schedule alone: no images to read, no mixing, average, metrics or logging.
"""

from copy import deepcopy

import torch
from torch import nn
from torch.optim import AdamW

from benchmarks.clock import BatchTimer, run_lap
from benchmarks.peers.network import build_network, require_gradients, stage_parameters
from benchmarks.setting import Setting, stages_of
from emotion_lightning.model.backbone import Backbone
from emotion_lightning.model.optim import build_scheduler
from emotion_lightning.runtime.allocator import tune_malloc
from emotion_lightning.runtime.precision import resolve_precision
from emotion_lightning.schedule import STAGES

DTYPES = {"16-mixed": torch.float16, "bf16-mixed": torch.bfloat16, "32-true": torch.float32}
STEPS = 100_000  # of OneCycle, which nobody reaches


class Ceiling:
    """The bare loop."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.network = build_network(setting).to(memory_format=torch.channels_last)
        self.dtype = DTYPES[str(resolve_precision("16-mixed", setting.device, self.network))]

    def measure(self, phase: str, lap: BatchTimer) -> None:
        """Train on the same batch again and again."""
        loop = _Loop(self.setting, deepcopy(self.network), self.dtype, stages_of(phase))
        torch.backends.cudnn.benchmark = True
        tune_malloc()
        run_lap(lap, loop.step)


class _Loop:
    def __init__(self, setting: Setting, network: nn.Sequential, dtype: torch.dtype, stages: tuple[str, ...]) -> None:
        self.device, self.dtype = setting.device, dtype
        self.network = network.to(self.device)
        _freeze(self.network, stages)
        rates = {stage: 1e-3 if stage == "classifier" else 1e-5 for stage in STAGES}
        groups = [{"params": values, "lr": rates[stage]} for stage, values in stage_parameters(self.network).items()]
        self.optimizer = AdamW(groups, weight_decay=0.01, fused=True)
        self.scheduler = build_scheduler(self.optimizer, STEPS, 0.1)
        self.scaler = torch.amp.GradScaler(self.device, enabled=dtype == torch.float16)
        self.trainable = [p for p in self.network.parameters() if p.requires_grad]
        size, generator = setting.image_size, torch.Generator().manual_seed(setting.seed)
        images = torch.randn(setting.batch_size, 3, size, size, generator=generator)
        self.images = images.to(self.device, memory_format=torch.channels_last)
        self.labels = torch.randint(len(setting.class_names), (setting.batch_size,), generator=generator).to(
            self.device
        )
        self.criterion = nn.CrossEntropyLoss(label_smoothing=0.1)

    def step(self) -> None:
        """Train on the batch."""
        with torch.autocast(self.device, self.dtype, enabled=self.dtype != torch.float32):
            logits = self.network(self.images)
        loss = self.criterion(logits.float(), self.labels)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.trainable, 1.0)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.scheduler.step()
        self.optimizer.zero_grad()


def _freeze(network: nn.Sequential, stages: tuple[str, ...]) -> None:
    """Freeze as ``EmotionClassifier.set_trainable`` does: what does not train is in evaluation mode."""
    network.train()
    require_gradients(network, stages)
    backbone = network[0]
    assert isinstance(backbone, Backbone)
    backbone.set_trainable(stages)
