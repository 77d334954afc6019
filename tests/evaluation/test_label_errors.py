import pytest
import torch
from torch import Tensor

from emotion_lightning.evaluation.label_errors import find_doubts


def answers(seed: int, images: int = 2000, classes: int = 5) -> tuple[Tensor, Tensor, Tensor]:
    """Probabilities of a model that is right to about 80 %, labels of which some are flipped, and which those are."""
    generator = torch.Generator().manual_seed(seed)
    true = torch.randint(classes, (images,), generator=generator)
    logits = torch.randn(images, classes, generator=generator)
    logits[torch.arange(images), true] += 2.5
    flipped = torch.rand(images, generator=generator) < 0.1
    return logits.double().softmax(1), torch.where(flipped, (true + 1) % classes, true), flipped


def test_a_planted_flip_is_ranked_first() -> None:
    labels = torch.arange(3).repeat(20)
    probabilities = torch.full((60, 3), 0.1, dtype=torch.double).scatter(1, labels[:, None], 0.8)
    probabilities[7] = torch.tensor([0.3, 0.4, 0.3])  # unsure, but no doubt of its label
    labels[31] = (labels[31] + 1) % 3
    found = find_doubts(probabilities, labels)
    assert found.order[0] == 31
    assert found.doubtful.nonzero().flatten().tolist() == [31]
    assert found.joint.sum() == 59  # all but the unsure one


def test_flips_are_found_long_before_chance_and_every_image_is_ranked_once() -> None:
    probabilities, labels, flipped = answers(0)
    found = find_doubts(probabilities, labels)
    assert sorted(found.order.tolist()) == list(range(2000))
    assert flipped[found.order[:150]].double().mean() > 0.75
    assert found.doubtful[found.order[: found.doubtful.sum()]].all()


def test_a_class_without_images_is_no_answer() -> None:
    probabilities, labels, _ = answers(1)
    wider = torch.cat([probabilities * 0.5, torch.full((2000, 1), 0.5, dtype=torch.double)], dim=1)
    assert find_doubts(wider, labels).joint[:, 5].sum() == 0


@pytest.mark.parametrize("seed", range(3))
def test_the_doubts_are_those_of_cleanlab(seed: int) -> None:
    cleanlab = pytest.importorskip("cleanlab.filter", reason="cleanlab is of the extra test")
    probabilities, labels, _ = answers(seed)
    theirs = cleanlab.find_label_issues(
        labels.numpy(),
        probabilities.numpy(),
        return_indices_ranked_by="normalized_margin",
        filter_by="confident_learning",
        n_jobs=1,
    )
    found = find_doubts(probabilities, labels)
    assert found.order[: found.doubtful.sum()].tolist() == theirs.tolist()
