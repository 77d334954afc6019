import torch

from emotion_lightning.data.augment import (
    PARAMS,
    AugmentPolicy,
    sample_params,
)
from emotion_lightning.seeding import uniforms

STILL = AugmentPolicy(resize=1.0, flip=0.0)
MIDDLE = torch.full((1, len(PARAMS)), 0.5)


def test_an_image_draws_the_same_whatever_its_batch() -> None:
    together = sample_params(torch.tensor([5, 9, 2]), seed=3)
    assert torch.equal(together[1:2], sample_params(torch.tensor([9]), seed=3))
    assert not torch.equal(together, sample_params(torch.tensor([5, 9, 2]), seed=4))


def test_draws_are_uniform_and_unrelated() -> None:
    drawn = uniforms(torch.arange(20_000), seed=2**62 + 12345, count=20)
    assert drawn.min() >= 0
    assert drawn.max() < 1
    torch.testing.assert_close(drawn.mean(0), torch.full((20,), 0.5), atol=0.01, rtol=0)
    torch.testing.assert_close(drawn.var(0), torch.full((20,), 1 / 12), atol=0.003, rtol=0)
    related = torch.corrcoef(torch.cat([drawn, drawn.roll(1, 0)], dim=1).T)
    assert related.fill_diagonal_(0).abs().max() < 0.035
    next_epoch = uniforms(torch.arange(20_000), seed=2**62 + 12346, count=20)
    assert torch.corrcoef(torch.stack([drawn.flatten(), next_epoch.flatten()]))[0, 1].abs() < 0.01
