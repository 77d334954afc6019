"""Single operations, each alone: decoding, cache, augmentation, mixing, average and metrics."""

from collections.abc import Callable, Mapping
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any, cast

import torch
from lightning.pytorch import Trainer

from benchmarks.clock import alternate, repeated
from benchmarks.figure import Figure
from benchmarks.peers.ours import images, silence
from benchmarks.setting import Setting
from emotion_lightning.batch import normalize
from emotion_lightning.callbacks import EMA
from emotion_lightning.data.audit.scan import scan
from emotion_lightning.data.augment import POLICIES, augment, resize_size, sample_params
from emotion_lightning.data.dataset import FaceDataset
from emotion_lightning.data.drawn import draw_face
from emotion_lightning.data.images.cache import Cache
from emotion_lightning.data.images.decode import Files, open_image, to_tensor
from emotion_lightning.evaluation.metrics import logged_metrics
from emotion_lightning.evaluation.running import ConfusionMetric
from emotion_lightning.model.finite import all_finite
from emotion_lightning.model.mix import MixUpCutMix
from emotion_lightning.model.module import EmotionClassifier

PHOTOGRAPH = 1600
"""Side in pixels of what stands for a photograph."""

SCANNED = 64
"""Images with which a cache is filled."""

Parts = Mapping[str, tuple[Callable[[], object], int]]
"""What to call, and how many images that takes, by name."""


def measure(setting: Setting) -> list[Figure]:
    """Measure seconds of a call of each part, in alternation."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        parts = {**_decoding(setting, folder), **_batches(setting), **_average(setting), **_metrics(setting)}
        calls = {work: partial(repeated, call, setting.least_seconds) for work, (call, _) in parts.items()}
        seconds = alternate(calls, setting.rounds, "parts")
    return [Figure("parts", work, "ours", seconds[work], number) for work, (_, number) in parts.items()]


def _decoding(setting: Setting, folder: Path) -> Parts:
    paths, _ = setting.files()
    photograph, side, numbers = folder / "photograph.jpg", resize_size(setting.image_size), count()
    draw_face("happy", setting.seed, 0, 400).resize((PHOTOGRAPH, PHOTOGRAPH)).save(photograph, quality=90)
    few, cached = tuple(paths[:SCANNED]), _cached(setting)

    def fill() -> None:
        scan(Files(few), Cache(setting.root, side, folder=folder / f"{next(numbers)}"), progress=False)

    order = setting.manifest.indices("train")
    return {
        "decode an image": (lambda: open_image(paths[0]), 1),
        f"decode a photograph of {PHOTOGRAPH} px": (lambda: to_tensor(open_image(photograph, side), side), 1),
        "check and cache an image": (fill, len(few)),
        "read and resize an image from cache": (lambda: cached[order[next(numbers) % len(order)]], 1),
    }


def _cached(setting: Setting) -> FaceDataset:
    data = images(setting)
    with silence():
        data.setup("fit")
    return cast(FaceDataset, data.train_dataloader().dataset)


def _batches(setting: Setting) -> Parts:
    number, size, seeds = setting.batch_size, setting.image_size, count()
    side, generator = resize_size(size), torch.Generator().manual_seed(setting.seed)
    pixels = torch.randint(256, (number, 3, side, side), dtype=torch.uint8, generator=generator).to(setting.device)
    batch, labels = torch.randn(number, 3, size, size, device=setting.device), torch.arange(number) % 2
    labels, indices = labels.to(setting.device), torch.arange(number)
    drawn, mix = sample_params(indices, setting.seed).to(setting.device), MixUpCutMix(prob=1.0)
    parts: dict[str, tuple[Callable[[], object], int]] = {
        "draw a batch's augmentation": (lambda: sample_params(indices, setting.seed), number),
        "normalize a batch for evaluation": (lambda: normalize(pixels[..., :size, :size].float() / 255), number),
        "mix a batch": (lambda: mix(batch, labels, next(seeds)), number),
    }
    for phase, ranges in POLICIES.items():
        parts[f"augment a batch, phase {phase}"] = (partial(augment, pixels, drawn, ranges, size), number)
    return parts


def _average(setting: Setting) -> Parts:
    model = EmotionClassifier(setting.class_names, setting.backbone, pretrained=False).to(setting.device)
    average, steps = EMA(), count(1)
    average.on_fit_start(cast(Trainer, None), model)

    def step() -> None:
        trainer: Any = SimpleNamespace(global_step=next(steps))
        average.on_train_batch_end(trainer, model, None, None, 0)

    return {
        "EMA of all weights": (step, 0),
        "see that all weights are finite": (lambda: all_finite(model.state_dict().values()), 0),
    }


def _metrics(setting: Setting) -> Parts:
    names, number = setting.class_names, setting.batch_size
    scores = ConfusionMetric(len(names)).to(setting.device)
    logits = torch.randn(number, len(names), device=setting.device)
    labels, losses = logits.argmax(dim=1), logits.logsumexp(dim=1)
    return {
        "count a batch's metrics": (lambda: scores.update(logits, labels, losses), number),
        "compute an epoch's metrics": (lambda: logged_metrics(*scores.compute(), names, "train"), 0),
    }
