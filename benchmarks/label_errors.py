"""How many planted wrong labels come first in a ranking of doubtful labels.

python -m benchmarks.label_errors --root ROOT [--share 0.1] [--epochs 5] [--cleanlab]

A share of the training labels is flipped by a known table. A small network is trained on all folds but one, gives the
probabilities of that one, and so on; the labels are ranked by these probabilities.
"""

import argparse
import random
from collections.abc import Sequence
from pathlib import Path

import timm
import torch
from torch import Tensor
from torch.nn import functional

from emotion_lightning.data.images.decode import to_tensor
from emotion_lightning.data.sources.manifest import read_manifest
from emotion_lightning.data.sources.splits import Fold, fold_split
from emotion_lightning.evaluation.label_errors import find_doubts
from emotion_lightning.seeding import derive_seed

FIRST = (500, 1000, 2000)
"""Lengths of the beginnings of a ranking that are counted."""


def plant(labels: Sequence[int], classes: int, share: float, seed: int) -> list[int]:
    """Return ``labels`` of which a ``share``, drawn at random, is that of another class, drawn at random."""
    rng, found = random.Random(derive_seed(seed, "plant")), list(labels)
    for place in rng.sample(range(len(labels)), round(share * len(labels))):
        found[place] = rng.choice([label for label in range(classes) if label != labels[place]])
    return found


def train(images: Tensor, labels: Tensor, classes: int, backbone: str, epochs: int, seed: int) -> torch.nn.Module:
    """Train on gray ``images``, mirrored at random, at a one-cycle learning rate."""
    torch.manual_seed(seed)
    model = timm.create_model(backbone, num_classes=classes, in_chans=1).train()
    batches = len(images) // 64
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=epochs * batches)
    for _ in range(epochs):
        for batch in torch.randperm(len(images))[: 64 * batches].view(batches, 64):
            pixels = _pixels(images[batch])
            pixels = torch.where(torch.rand(64, 1, 1, 1) < 0.5, pixels.flip(3), pixels)
            functional.cross_entropy(model(pixels), labels[batch]).backward()
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
    return model.eval()


def _pixels(images: Tensor) -> Tensor:
    return (images.float() - 128) / 64


@torch.inference_mode()
def answer(model: torch.nn.Module, images: Tensor) -> Tensor:
    """Probabilities ``(N, classes)``."""
    return torch.cat([model(_pixels(batch)).double().softmax(1) for batch in images.split(512)])


def rankings(probabilities: Tensor, labels: Tensor, seed: int, cleanlab: bool) -> dict[str, list[int]]:
    """Orders in which the images could be looked at."""
    own = probabilities.gather(1, labels[:, None]).squeeze(1)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    others = probabilities.scatter(1, labels[:, None], -1.0).max(1).values
    found = find_doubts(probabilities, labels)
    by_margin = (own - others).argsort(stable=True)
    flagged = found.doubtful[by_margin]
    orders = {
        "confident learning": found.order,
        "the same, by margin": torch.cat([by_margin[flagged], by_margin[~flagged]]),
        "loss": own.argsort(stable=True),
        "random": order,
    }
    named = {name: each.tolist() for name, each in orders.items()}
    if cleanlab:
        from cleanlab.filter import find_label_issues  # of the extra test

        named["cleanlab"] = find_label_issues(
            labels.numpy(),
            probabilities.numpy(),
            return_indices_ranked_by="self_confidence",
            filter_by="confident_learning",
            n_jobs=1,
        ).tolist()
    return named


def main() -> None:
    """Plant, train the folds, rank and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help="folder of the data set")
    parser.add_argument("--share", type=float, default=0.1, help="share of the training labels that are flipped")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--side", type=int, default=48, help="side of the images in pixels")
    parser.add_argument("--backbone", default="test_resnet", help="network of timm, which begins at random")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--cleanlab", action="store_true", help="rank by cleanlab, too")
    options = parser.parse_args()

    manifest = read_manifest(options.root)
    chosen, names = manifest.indices("train"), manifest.class_names
    images = torch.stack([to_tensor(manifest.read(index), options.side)[:1] for index in chosen])
    true = [manifest.labels[index] for index in chosen]
    given = plant(true, len(names), options.share, options.seed)
    wrong, labels = torch.tensor(true) != torch.tensor(given), torch.tensor(given)
    digests = [manifest.read.digest(index) for index in chosen]
    probabilities = torch.zeros(len(chosen), len(names), dtype=torch.double)
    for number in range(options.folds):
        held = fold_split(digests, given, names, Fold(number, options.folds), options.seed)
        out = torch.tensor([split == "val" for split in held])
        model = train(images[~out], labels[~out], len(names), options.backbone, options.epochs, options.seed)
        probabilities[out] = answer(model, images[out])
        right = (probabilities[out].argmax(1) == labels[out]).double().mean()
        print(f"fold {number}: {right:.4f} of {int(out.sum()):,} labels as given", flush=True)
    print(f"{int(wrong.sum()):,} of {len(chosen):,} labels flipped; of the first of a ranking are flipped:")
    print(f"{'':22}" + "".join(f"{first:>8,}" for first in FIRST) + f"{'length':>9}")
    for name, order in rankings(probabilities, labels, options.seed, options.cleanlab).items():
        counts = "".join(f"{int(wrong[order[:first]].sum()):>8,}" for first in FIRST)
        print(f"{name:22}{counts}{len(order):>9,}")


if __name__ == "__main__":
    main()
