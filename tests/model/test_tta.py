import pytest
import torch

from emotion_lightning.model.tta import TTA, tta_logits
from tests.helpers import Lab


def seen_by(tta: TTA) -> list[torch.Tensor]:
    """The views that a classifier is given of an image with a gradient from left to right."""
    image = torch.linspace(-1, 1, 32).expand(1, 3, 32, 32)
    views: list[torch.Tensor] = []

    def classify(view: torch.Tensor) -> torch.Tensor:
        views.append(view)
        return torch.zeros(1, 2)

    tta_logits(classify, image, tta)
    return views


def test_views_are_the_image_its_mirror_image_and_ten_crops() -> None:
    (image,) = seen_by("none")
    assert [torch.equal(view, image) for view in seen_by("flip")] == [True, False]
    assert torch.equal(seen_by("flip")[1], image.flip(-1))
    crops = seen_by("tencrop")
    assert len(crops) == 10
    assert all(crop.shape == image.shape for crop in crops)
    means = sorted(round(crop.mean().item(), 2) for crop in crops)
    assert means[:4] == pytest.approx([-0.13] * 4, abs=0.02)  # left corners, and mirrored right ones keep their mean
    assert means[-4:] == pytest.approx([0.13] * 4, abs=0.02)


def test_probabilities_are_averaged_not_logits() -> None:
    answers = iter([torch.tensor([[4.0, 0.0]]), torch.tensor([[0.0, 1.0]])])
    found = tta_logits(lambda view: next(answers), torch.zeros(1, 3, 8, 8), "flip").softmax(1)
    expected = (torch.tensor([4.0, 0.0]).softmax(0) + torch.tensor([0.0, 1.0]).softmax(0)) / 2
    assert torch.allclose(found[0], expected)


def test_flipped_images_get_the_same_answer_with_flips_only(lab: Lab) -> None:
    images = torch.randn(4, 3, 32, 32)
    for tta, same in (("none", False), ("flip", True), ("tencrop", True)):
        model = lab.model(tta=tta).eval()
        with torch.no_grad():
            given, mirrored = (model.predict_step((x, None, torch.arange(4)), 0)[0] for x in (images, images.flip(-1)))
        assert torch.allclose(given, mirrored, atol=1e-5) == same
