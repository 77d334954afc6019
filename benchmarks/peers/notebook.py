"""The recipe as a notebook trains it: plain PyTorch, the way tutorials teach it.

PIL transforms in a DataLoader; fp32 on a CPU, autocast to fp16 on a GPU; PyTorch's own layout and optimizer; the whole
network in training mode, frozen layers by ``requires_grad`` alone; loss and accuracy read after every step.
"""

import random
from copy import deepcopy

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import DataLoader
from torchvision import transforms

from benchmarks.clock import BatchTimer, run_lap
from benchmarks.peers.network import Pictures, build_network, endless, require_gradients
from benchmarks.setting import Setting, stages_of
from emotion_lightning.batch import IMAGENET

STEPS = 100_000  # of OneCycle, which nobody reaches


def recipe_transform(phase: int, size: int) -> transforms.Compose:
    """The recipe's augmentation in ``phase`` 1 or 2, from a PIL image to a normalized ``(3, size, size)``."""
    to_tensor = [transforms.ToTensor(), transforms.Normalize(*IMAGENET)]
    if phase == 1:
        side = round(size * 256 / 224)
        return transforms.Compose(
            [
                transforms.Resize((side, side)),
                transforms.RandomCrop(size),
                transforms.RandomHorizontalFlip(),
                transforms.RandomRotation(10),
                transforms.ColorJitter(0.2, 0.2, 0.2, 0.1),
                *to_tensor,
            ]
        )
    side = round(size * 288 / 224)
    return transforms.Compose(
        [
            transforms.Resize((side, side)),
            transforms.RandomResizedCrop(size, scale=(0.8, 1.0), ratio=(0.9, 1.1)),
            transforms.RandomHorizontalFlip(),
            transforms.RandomRotation(15),
            transforms.RandomAffine(0, translate=(0.1, 0.1), scale=(0.9, 1.1), shear=5),
            transforms.ColorJitter(0.3, 0.3, 0.3, 0.15),
            transforms.RandomGrayscale(0.1),
            *to_tensor,
            transforms.RandomErasing(0.1, scale=(0.02, 0.1)),
        ]
    )


class Notebook:
    """The notebook's loop."""

    def __init__(self, setting: Setting) -> None:
        self.setting, self.network = setting, build_network(setting)

    def measure(self, phase: str, lap: BatchTimer) -> None:
        """Train as cells of a notebook would."""
        setting = self.setting
        augmentation = 1 if phase == "classifier only" else 2
        pictures = Pictures(*setting.files(), recipe_transform(augmentation, setting.image_size))
        loader = DataLoader(
            pictures,
            setting.batch_size,
            shuffle=True,
            drop_last=True,
            num_workers=setting.workers,
            pin_memory=setting.on_gpu,
        )
        loop, batches = _Loop(setting, deepcopy(self.network), phase), endless(loader)
        run_lap(lap, lambda: loop.step(*next(batches)))


class _Loop:
    """Model, optimizer and running figures of one phase."""

    def __init__(self, setting: Setting, network: nn.Sequential, phase: str) -> None:
        self.device, self.amp = setting.device, setting.on_gpu
        self.network = network.to(self.device)
        require_gradients(self.network, stages_of(phase))
        self.network.train()
        backbone, classifier = ([p for p in part.parameters() if p.requires_grad] for part in self.network)
        groups = [{"params": p, "lr": lr} for p, lr in ((backbone, 1e-5), (classifier, 1e-3)) if p]
        self.optimizer = AdamW(groups, weight_decay=0.01)
        self.scheduler = OneCycleLR(self.optimizer, [group["lr"] for group in groups], STEPS, pct_start=0.1)
        self.criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
        self.scaler = torch.amp.GradScaler(self.device, enabled=self.amp)
        self.shadow = {n: p.data.clone() for n, p in self.network.named_parameters() if p.requires_grad}
        self.running_loss, self.correct, self.total = 0.0, 0.0, 0

    def step(self, images: Tensor, labels: Tensor) -> None:
        """Train on a batch."""
        images, labels = images.to(self.device), labels.to(self.device)
        images, partners, weight = _mix(images, labels)
        self.optimizer.zero_grad()
        with torch.autocast(self.device, torch.float16, enabled=self.amp):
            logits = self.network(images)
            loss = weight * self.criterion(logits, labels) + (1 - weight) * self.criterion(logits, partners)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.scheduler.step()
        self._average()
        self._count(logits, labels, partners, weight, loss)

    def _average(self, decay: float = 0.9999) -> None:
        for name, parameter in self.network.named_parameters():
            if parameter.requires_grad:
                self.shadow[name] = decay * self.shadow[name] + (1 - decay) * parameter.data

    def _count(self, logits: Tensor, labels: Tensor, partners: Tensor, weight: float, loss: Tensor) -> None:
        predicted = logits.argmax(dim=1)
        self.running_loss += loss.item() * len(labels)
        self.correct += weight * (predicted == labels).sum().item()
        self.correct += (1 - weight) * (predicted == partners).sum().item()
        self.total += len(labels)


def _mix(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, float]:
    """MixUp or CutMix with probability 0.8: images, the other labels and the weight of the first."""
    if random.random() >= 0.8:
        return images, labels, 1.0
    order = torch.randperm(len(images), device=images.device)
    if random.random() < 0.5:
        weight = float(np.random.beta(0.3, 0.3))
        return weight * images + (1 - weight) * images[order], labels[order], weight
    weight = float(np.random.beta(1.0, 1.0))
    (top, bottom), (left, right) = (_interval(length, weight) for length in images.shape[-2:])
    images = images.clone()
    images[..., top:bottom, left:right] = images[order][..., top:bottom, left:right]
    return images, labels[order], 1 - (bottom - top) * (right - left) / images[0, 0].numel()


def _interval(length: int, weight: float) -> tuple[int, int]:
    center, half = np.random.randint(length), int(length * (1 - weight) ** 0.5) // 2
    return max(center - half, 0), min(center + half, length)
