"""How many planted wrong labels come first in a ranking of doubtful labels, and what correcting them is worth.

python -m benchmarks.label_errors --root ROOT [--share 0.1] [--table confused] [--epochs 5] [--cleanlab] [--seeds 1 2 3]

A share of the training labels is flipped by a known table. A small network is trained on all folds but one, gives the
probabilities of that one, and so on; the labels are ranked by these probabilities. With seeds it is then trained on all
training images: with the flipped labels, with the first of the ranking corrected, with none flipped, and with the
flipped labels and a loss that is robust to noise (generalized cross entropy, Zhang and Sabuncu, 2018).
"""

import argparse
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean, stdev

import timm
import torch
from torch import Tensor
from torch.nn import functional
from torchmetrics.functional.classification import multiclass_f1_score

from emotion_lightning.data.images.decode import to_tensor
from emotion_lightning.data.sources.manifest import read_manifest
from emotion_lightning.data.sources.splits import Fold, fold_split
from emotion_lightning.evaluation.label_errors import find_doubts
from emotion_lightning.seeding import derive_seed

FIRST = (500, 1000, 2000)
"""Lengths of the beginnings of a ranking that are counted."""


CORRECTED = 1000
"""How many labels at the beginning of the ranking are corrected."""

CONFUSED = {
    "angry": "sad",
    "disgust": "angry",
    "fear": "sad",
    "happy": "neutral",
    "neutral": "sad",
    "sad": "neutral",
    "surprise": "fear",
}
"""The class that FER2013's faces of each are most often taken for."""

Loss = Callable[[Tensor, Tensor], Tensor]


def plant(labels: Sequence[int], names: Sequence[str], share: float, table: str, seed: int) -> list[int]:
    """Return ``labels`` of which a ``share``, drawn at random, is that of another class.

    Args:
        labels: The labels.
        names: Names of the classes.
        share: Share of the labels, in [0, 1].
        table: random for any other class, confused for the one that it is most often taken for.
        seed: Of the draw.
    """
    rng, found = random.Random(derive_seed(seed, "plant")), list(labels)
    for place in rng.sample(range(len(labels)), round(share * len(labels))):
        others = [label for label in range(len(names)) if label != labels[place]]
        found[place] = names.index(CONFUSED[names[labels[place]]]) if table == "confused" else rng.choice(others)
    return found


def generalized_cross_entropy(logits: Tensor, labels: Tensor, q: float = 0.7) -> Tensor:
    """Loss between cross entropy (q to 0) and the mean absolute error (q = 1): Zhang and Sabuncu, 2018, equation 6."""
    own = logits.softmax(1).gather(1, labels[:, None])
    return ((1 - own**q) / q).mean()


def train(
    images: Tensor,
    labels: Tensor,
    classes: int,
    backbone: str,
    epochs: int,
    seed: int,
    loss: Loss = functional.cross_entropy,
) -> torch.nn.Module:
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
            loss(model(pixels), labels[batch]).backward()
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
    found = find_doubts(probabilities, labels)
    by_own = own.argsort(stable=True)
    flagged = found.doubtful[by_own]
    orders = {
        "confident learning": found.order,
        "the same, by own probability": torch.cat([by_own[flagged], by_own[~flagged]]),
        "loss": by_own,
        "random": order,
    }
    named = {name: each.tolist() for name, each in orders.items()}
    if cleanlab:
        from cleanlab.filter import find_label_issues  # of the extra test

        named["cleanlab"] = find_label_issues(
            labels.numpy(),
            probabilities.numpy(),
            return_indices_ranked_by="normalized_margin",
            filter_by="confident_learning",
            n_jobs=1,
        ).tolist()
    return named


def compare(
    images: Tensor,
    labels: dict[str, tuple[Tensor, Loss]],
    held_out: tuple[Tensor, Tensor],
    settings: tuple[int, str, int],
    seeds: Sequence[int],
) -> None:
    """Train with each of ``labels`` and print accuracy and macro F1 on the images ``held_out``, and the differences."""
    pixels, truth = held_out
    first: list[tuple[float, ...]] = []
    print(f"{'':34}{'accuracy':>18}{'macro F1':>18}   difference of each seed from the first row")
    for name, (given, loss) in labels.items():
        scores = []
        for seed in seeds:
            found = answer(train(images, given, *settings, seed, loss), pixels).argmax(1)
            f1 = multiclass_f1_score(found, truth, num_classes=settings[0], average="macro")
            scores.append((float((found == truth).double().mean()), float(f1)))
        first = first or scores
        shown = "".join(f"{mean(part):>10.4f} ± {stdev(part):.3f}" for part in zip(*scores, strict=True))
        gains = ", ".join(f"{ours[0] - theirs[0]:+.4f}" for ours, theirs in zip(scores, first, strict=True))
        print(f"{name:34}{shown}   {gains}", flush=True)


def main() -> None:
    """Plant, train the folds, rank and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help="folder of the data set")
    parser.add_argument("--share", type=float, default=0.1, help="share of the training labels that are flipped")
    parser.add_argument("--table", choices=["random", "confused"], default="random", help="the class put in its place")
    parser.add_argument("--seeds", type=int, nargs="*", default=[], help="seeds of the trainings on all images")
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
    given = plant(true, names, options.share, options.table, options.seed)
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
    print(f"{'':30}" + "".join(f"{first:>8,}" for first in FIRST) + f"{'length':>9}")
    orders = rankings(probabilities, labels, options.seed, options.cleanlab)
    for name, order in orders.items():
        counts = "".join(f"{int(wrong[order[:first]].sum()):>8,}" for first in FIRST)
        print(f"{name:30}{counts}{len(order):>9,}")
    if not options.seeds:
        return
    torch_true, corrected = torch.tensor(true), labels.clone()
    chosen_first = orders["confident learning"][:CORRECTED]
    corrected[chosen_first] = torch_true[chosen_first]
    seen = {
        "labels as planted": (labels, functional.cross_entropy),
        f"the first {CORRECTED:,} corrected": (corrected, functional.cross_entropy),
        "none planted": (torch_true, functional.cross_entropy),
        "planted, generalized cross entropy": (labels, generalized_cross_entropy),
    }
    places = manifest.indices("val")
    pixels = torch.stack([to_tensor(manifest.read(index), options.side)[:1] for index in places])
    held_out = pixels, torch.tensor([manifest.labels[index] for index in places])
    compare(images, seen, held_out, (len(names), options.backbone, options.epochs), options.seeds)


if __name__ == "__main__":
    main()
