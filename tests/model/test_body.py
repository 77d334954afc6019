import pytest
import timm
import torch
from torch import nn

from emotion_lightning.errors import UsageError
from emotion_lightning.model.backbone import Backbone
from emotion_lightning.model.body import build_body, check_sizes
from tests.helpers import Lab


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let timm build one block a stage, which the size of the images does not depend on."""
    create = timm.create_model

    def shallow(name: str, **options: object) -> nn.Module:
        for depth in ({"depth": 1}, {"depths": (1, 1, 1, 1)}, {"depths": (1, 1, 1)}, {}):
            try:
                return create(name, **options, **depth)
            except TypeError:
                continue
        raise TypeError

    monkeypatch.setattr(timm, "create_model", shallow)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("name", "takes_others"),
    [
        ("deit_tiny_patch16_224", True),
        ("vit_tiny_patch16_224", True),
        ("swin_tiny_patch4_window7_224", True),
        ("crossvit_tiny_240", True),
        ("beit_base_patch16_224", False),
        ("cait_xxs24_224", False),
        ("levit_128s", False),
        ("test_coatnet", False),
        ("test_resnet", True),
    ],
)
def test_networks_made_for_one_size_are_built_for_that_of_the_images(name: str, takes_others: bool) -> None:
    body, only_size = build_body(name, 96)
    assert body.eval()(torch.zeros(2, 3, 96, 96)).shape == (2, body.num_features)
    assert only_size == (None if takes_others else 96)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("name", "size", "instead"),
    [("efficientformer_l1", 96, "`image_size` 208,"), ("test_coatnet", 100, "96 or 128"), ("inception_v3", 32, "80,")],
)
def test_sizes_that_cannot_be_are_refused_with_some_that_can(name: str, size: int, instead: str) -> None:
    with pytest.raises(UsageError, match=f"`image_size` {size}.*{name}.*{instead}"):
        check_sizes(name, size)
    with pytest.raises(UsageError, match=f"`image_size` {size}"):
        build_body(name, size)


@pytest.mark.usefixtures("small")
def test_sizes_of_training_must_fit_as_well() -> None:
    check_sizes("vit_tiny_patch16_224", 96, [48, 64, 96])
    check_sizes("test_coatnet", 96, [96])
    with pytest.raises(UsageError, match=r"`resolution_schedule`.*test_coatnet.* 64 pixels as well as of 96"):
        check_sizes("test_coatnet", 96, [64, 96])


def test_a_trial_of_sizes_draws_no_random_numbers() -> None:
    torch.manual_seed(0)
    expected = timm.create_model("test_vit", num_classes=0).state_dict()
    torch.manual_seed(0)
    body, _ = build_body("test_vit", 64)
    assert all(torch.equal(value, body.state_dict()[name]) for name, value in expected.items())


def test_images_of_another_size_than_it_was_built_for_are_refused_in_one_line() -> None:
    backbone = Backbone("test_coatnet", image_size=96)
    with pytest.raises(UsageError, match=r"`image_size` 128: .* built for images of 96 pixels"):
        backbone(torch.zeros(2, 3, 128, 128))


def test_a_checkpoint_remembers_the_size(lab: Lab) -> None:
    model, trainer = lab.model(backbone="test_coatnet", input_size=64), lab.trainer()
    trainer.strategy.connect(model)
    trainer.save_checkpoint(lab.folder / "model.ckpt")
    restored = type(model).load_from_checkpoint(lab.folder / "model.ckpt")
    assert restored.backbone.only_size == 64
    images = torch.randn(2, 3, 64, 64)
    assert torch.equal(restored.eval()(images), model.eval()(images))
