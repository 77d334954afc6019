import torch

from emotion_lightning.batch import class_of, denormalize, normalize
from emotion_lightning.data.augment import (
    PARAMS,
    AugmentPolicy,
)

STILL = AugmentPolicy(resize=1.0, flip=0.0)
MIDDLE = torch.full((1, len(PARAMS)), 0.5)


def test_unnormalize_gives_back_the_pictures() -> None:
    pictures = torch.arange(256, dtype=torch.uint8).expand(2, 3, 256)[..., None]
    assert torch.equal(denormalize(normalize(pictures.float() / 255)), pictures)
    assert denormalize(torch.full((1, 3, 2, 2), 99.0)).unique().tolist() == [255]


def test_a_label_is_a_class_or_the_one_with_most_votes() -> None:
    labels = torch.tensor([2, 0])
    assert class_of(labels) is labels
    assert class_of(torch.tensor([[1, 2, 7], [6, 4, 0]])).tolist() == [2, 0]
