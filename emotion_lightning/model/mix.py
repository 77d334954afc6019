"""MixUp (Zhang et al., 2018) and CutMix (Yun et al., 2019) as one pure function of a seed."""

import random
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from emotion_lightning.batch import class_of


class MixedLabels(NamedTuple):
    """Two labels for each image: ``labels`` with weight ``lam`` in [0, 1], ``labels_b`` with weight ``1 - lam``.

    Both are classes ``(B,)`` or votes for each class ``(B, classes)``; ``method`` is mixup, cutmix or none.
    """

    labels: Tensor
    labels_b: Tensor
    lam: float = 1.0
    method: str = "none"

    @property
    def dominant(self) -> Tensor:
        """The class ``(B,)`` with the larger weight; of an unmixed batch, its label."""
        return class_of(self.labels if self.lam >= 0.5 else self.labels_b)

    def cross_entropy(self, logits: Tensor, label_smoothing: float) -> Tensor:
        """Cross-entropy of each image ``(B,)`` with the mixture of both labels, each smoothed."""
        loss = _cross_entropy(logits, self.labels, label_smoothing)
        if self.lam == 1.0:
            return loss
        return self.lam * loss + (1 - self.lam) * _cross_entropy(logits, self.labels_b, label_smoothing)


def _cross_entropy(logits: Tensor, labels: Tensor, label_smoothing: float) -> Tensor:
    """Cross-entropy of each image ``(B,)`` with its class, or with the shares of its votes."""
    if labels.ndim == 2:
        labels = labels.to(logits.dtype) / labels.sum(dim=1, keepdim=True)  # bf16-true divides integers in bf16
    return F.cross_entropy(logits, labels, reduction="none", label_smoothing=label_smoothing)


@dataclass(frozen=True)
class MixUpCutMix:
    """Mixes a batch with a permutation of itself, by MixUp or CutMix with equal chance.

    Args:
        mixup_alpha: Both parameters of the beta distribution of MixUp's weight; 0 leaves MixUp out.
        cutmix_alpha: The same for the area that CutMix keeps; 0 leaves CutMix out.
        prob: Probability that a batch is mixed at all, in [0, 1].
    """

    mixup_alpha: float = 0.3
    cutmix_alpha: float = 1.0
    prob: float = 0.8

    def __call__(self, images: Tensor, labels: Tensor, seed: int) -> tuple[Tensor, MixedLabels]:
        """Return mixed images ``(B, 3, H, W)`` and their labels; the tensors given stay as they are.

        All is drawn on the host from ``seed``, so that nothing waits for the device.
        """
        rng = random.Random(seed)
        alphas = {"mixup": self.mixup_alpha, "cutmix": self.cutmix_alpha}
        methods = [method for method, alpha in alphas.items() if alpha > 0]
        if not methods or rng.random() >= self.prob:
            return images, MixedLabels(labels, labels)
        method = rng.choice(methods)
        mix, alpha = METHODS[method], alphas[method]
        generator = torch.Generator().manual_seed(rng.getrandbits(63))
        order = torch.randperm(len(images), generator=generator, pin_memory=images.is_cuda)
        order = order.to(images.device, non_blocking=True)
        mixed, lam = mix(images, images[order], rng.betavariate(alpha, alpha), rng)
        return mixed, MixedLabels(labels, labels[order], lam, method)


def _mixup(images: Tensor, partners: Tensor, lam: float, rng: random.Random) -> tuple[Tensor, float]:
    return torch.lerp(partners, images, lam), lam


def _cutmix(images: Tensor, partners: Tensor, lam: float, rng: random.Random) -> tuple[Tensor, float]:
    height, width = images.shape[-2:]
    side = (1 - lam) ** 0.5
    top, bottom = _interval(rng, height, side)
    left, right = _interval(rng, width, side)
    mixed = images.clone()
    mixed[..., top:bottom, left:right] = partners[..., top:bottom, left:right]
    # the box is cut at the border, so lam is the share that was kept
    return mixed, 1 - (bottom - top) * (right - left) / (height * width)


def _interval(rng: random.Random, length: int, fraction: float) -> tuple[int, int]:
    center, half = rng.randrange(length), int(length * fraction) // 2
    return max(center - half, 0), min(center + half, length)


METHODS = {"mixup": _mixup, "cutmix": _cutmix}
