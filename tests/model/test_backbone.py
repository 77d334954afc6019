import pytest
import timm
import torch
from torch import nn

from emotion_lightning.errors import UsageError
from emotion_lightning.model.backbone import BACKBONE_STAGES, Backbone, BatchNormMode, resolve_batch_norm


@pytest.mark.parametrize("name", ["resnet50", "test_resnet"])
def test_stages_of_a_resnet_are_its_own(name: str) -> None:
    backbone = Backbone(name)
    for parameter, stage in backbone.stage_of.items():
        assert parameter.startswith(stage if stage != "stem" else ("conv1", "bn1"))


@pytest.mark.parametrize(
    ("name", "last"),
    [
        ("test_efficientnet", "conv_head.weight"),
        ("test_convnext", "head.norm.weight"),
        ("test_vit", "norm.weight"),
        ("tf_efficientnet_lite0", "bn2.weight"),
        ("convnext_atto", "head.norm.weight"),
        ("vit_tiny_patch16_224", "norm.weight"),
    ],
)
def test_other_families_merge_to_the_same_stages(name: str, last: str) -> None:
    stages = Backbone(name).stage_parameters()
    assert tuple(stages) == BACKBONE_STAGES
    assert all(stages.values())
    backbone = Backbone(name)
    assert backbone.stage_of[last] == "layer4"
    together = [id(parameter) for parameters in backbone.stage_parameters().values() for parameter in parameters]
    assert sorted(together) == sorted(id(parameter) for parameter in backbone.parameters())
    order = [BACKBONE_STAGES.index(backbone.stage_of[name]) for name, _ in backbone.body.named_parameters()]
    if not name.startswith(("vit", "test_vit")):  # whose tokens stand before the patches
        assert order == sorted(order)


def test_vision_transformers_take_any_image_size() -> None:
    backbone = Backbone("vit_tiny_patch16_224").eval()
    assert backbone(torch.zeros(2, 3, 96, 96)).shape == (2, backbone.num_features)


def test_only_the_named_stages_train_and_only_they_are_in_training_mode() -> None:
    backbone = Backbone("test_resnet").train()
    backbone.set_trainable(["layer4"])
    for name, parameter in backbone.body.named_parameters():
        assert parameter.requires_grad == name.startswith("layer4")
    for name, module in backbone.body.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.training == name.startswith("layer4")


def test_frozen_batch_norm_normalizes_with_the_statistics_it_has() -> None:
    backbone = Backbone("test_resnet").train()
    backbone.set_trainable([])
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    frozen = backbone(images)
    torch.testing.assert_close(frozen, backbone.eval()(images), rtol=1e-5, atol=1e-5)
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())


@pytest.mark.parametrize("norm", ["test_resnet", "test_efficientnet"])  # plain BatchNorm, and one that also activates
def test_batch_norm_of_a_stage_that_trains_can_stay_frozen(norm: str) -> None:
    backbone = Backbone(norm, batch_norm="frozen").train()
    backbone.set_trainable(BACKBONE_STAGES)
    norms = [module for module in backbone.modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms
    assert not any(module.training for module in norms)
    assert all(module.weight.requires_grad and module.bias.requires_grad for module in norms)
    nn.SyncBatchNorm.convert_sync_batchnorm(backbone)
    backbone.set_trainable(BACKBONE_STAGES)
    assert not any(module.training for module in backbone.modules() if isinstance(module, nn.SyncBatchNorm))


@pytest.mark.parametrize(
    ("choice", "pretrained", "rate", "expected"),
    [
        ("auto", True, 1e-5, "frozen"),
        ("auto", True, 1e-4, "frozen"),
        ("auto", True, 3e-4, "train"),
        ("auto", False, 1e-5, "train"),  # random weights have statistics of nothing
        ("train", True, 1e-5, "train"),
        ("frozen", False, 1e-3, "frozen"),
    ],
)
def test_batch_norm_is_frozen_by_default_where_pretrained_weights_move_little(
    choice: BatchNormMode, pretrained: bool, rate: float, expected: str
) -> None:
    assert resolve_batch_norm(choice, pretrained, rate) == expected


def test_stochastic_depth_is_off_in_a_frozen_stage() -> None:
    body = timm.create_model("test_convnext", num_classes=0, drop_path_rate=0.5)
    backbone = Backbone("test_convnext")
    backbone.body = body
    backbone.train().set_trainable(["layer4"])
    drop_paths = {name: module for name, module in body.named_modules() if type(module).__name__ == "DropPath"}
    assert drop_paths
    assert all(module.training == name.startswith("stages.3") for name, module in drop_paths.items())


def test_unknown_model_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UsageError, match=r"resnet500.*did you mean resnet50"):
        Backbone("resnet500")


@pytest.mark.parametrize("name", ["mobilenetv3_small_050", "test_mambaout", "vgg11_bn", "test_vit", "resnet50"])
def test_features_are_as_many_as_are_said(name: str) -> None:
    backbone = Backbone(name).eval()
    with torch.no_grad():
        assert backbone(torch.zeros(1, 3, 160, 160)).shape == (1, backbone.num_features)
