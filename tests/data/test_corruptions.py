import pytest
import torch

from emotion_lightning.data.corruptions import CORRUPTIONS, STRENGTHS, corrupted
from emotion_lightning.data.drawn import draw_face
from emotion_lightning.data.images.decode import to_tensor

NAMES = [f"{place}.png" for place in range(6)]


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.stack([to_tensor(draw_face("happy", seed=1, index=place, size=80), 80) for place in range(6)])


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_what_a_picture_draws_depends_on_its_name_alone(name: str, images: torch.Tensor) -> None:
    found = corrupted(images, name, 3, NAMES)
    assert (found.dtype, found.shape) == (torch.uint8, images.shape)
    order = [4, 1, 3]
    apart = corrupted(images[order], name, 3, [NAMES[place] for place in order])
    assert torch.equal(apart, found[order])


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_each_strength_is_further_from_the_picture(name: str, images: torch.Tensor) -> None:
    distances = [
        (corrupted(images, name, strength, NAMES).float() - images.float()).abs().mean().item()
        for strength in STRENGTHS
    ]
    assert distances == sorted(distances)
    assert distances[0] > 0
    assert distances[-1] > 1.5 * distances[0]


def test_pictures_draw_apart(images: torch.Tensor) -> None:
    alike = images[:1].expand(6, -1, -1, -1)
    for name in ("brightness", "motion", "noise", "rotation", "eyes", "cast"):
        assert len(torch.unique(corrupted(alike, name, 5, NAMES).flatten(1), dim=0)) > 1, name


def test_a_picture_no_larger_than_the_size_is_left_as_it_is(images: torch.Tensor) -> None:
    small = images[..., :48, :48]
    assert torch.equal(corrupted(small, "size", 1, NAMES), small)
    assert not torch.equal(corrupted(small, "size", 3, NAMES), small)
