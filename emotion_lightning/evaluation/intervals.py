"""How far a figure could be off because the images measured are only some of those there are."""

import numpy as np
import torch
from torch import Tensor

from emotion_lightning.evaluation.metrics import headline
from emotion_lightning.seeding import derive_seed

RESAMPLES = 2000


def bootstrap_intervals(confusion: Tensor, level: float = 0.95, seed: int = 0) -> dict[str, tuple[float, float]]:
    """Percentile bootstrap intervals (Efron, 1979) of accuracy, macro F1 and weighted F1.

    Drawing the images anew with replacement is drawing the cells of the confusion matrix anew, as every figure is a
    function of these: no image needs to be kept.

    Args:
        confusion: Confusion matrix ``(classes, classes)`` of at least one image, rows true and columns predicted.
        level: Share of resamples that lie inside, in (0, 1).
        seed: Seed of the resamples.
    """
    counts = confusion.flatten().double().numpy()
    total = int(counts.sum())
    rng = np.random.default_rng(derive_seed(seed, "bootstrap"))
    resampled = torch.from_numpy(rng.multinomial(total, counts / total, size=RESAMPLES)).view(-1, *confusion.shape)
    edges = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.double)
    return {
        name: (low.item(), high.item())
        for name, values in headline(resampled).items()
        for low, high in [torch.quantile(values, edges)]
    }
