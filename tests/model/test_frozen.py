import gc
import pickle
import weakref
from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from emotion_lightning.model.backbone import BACKBONE_STAGES, Backbone

TRAINED = [BACKBONE_STAGES[start:] for start in range(1, 6)]
"""Stages that train behind each possible prefix."""

LAYER4 = ("layer4",)


def network(name: str = "test_resnet", trained: tuple[str, ...] = (), seed: int = 0) -> Backbone:
    """A network whose BatchNorms do something, with the stages before ``trained`` frozen."""
    torch.manual_seed(seed)
    backbone = Backbone(name)
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values, low in ((module.weight, 0.5), (module.running_var, 0.5), (module.bias, -0.2)):
                nn.init.uniform_(values, low, low + 0.5)
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
    backbone.set_trainable(trained)
    return backbone


def images(count: int = 4, size: int = 64) -> Tensor:
    noise = torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))
    return noise.to(memory_format=torch.channels_last)


def error(found: Tensor, expected: Tensor) -> float:
    """Of the features, relative to their size."""
    return float((found - expected).norm() / expected.norm())


def plain_runs(backbone: Backbone, faces: Tensor) -> bool:
    """Whether a BatchNorm of the first layer is called for a batch; the folded copy has none."""
    calls: list[int] = []
    hook = backbone.body.get_submodule("layer1.0.bn1").register_forward_hook(lambda *_: calls.append(1))
    backbone(faces)
    hook.remove()
    return bool(calls)


@pytest.mark.parametrize("trained", TRAINED)
def test_features_and_gradients_are_those_of_the_plain_network(trained: tuple[str, ...]) -> None:
    backbone = network(trained=trained)
    weights = torch.randn(4, backbone.num_features)
    gradients = []
    for model in (backbone.body, backbone):
        features = model(images())
        if trained:
            (features * weights).sum().backward()
        gradients.append({n: p.grad.clone() for n, p in backbone.body.named_parameters() if p.grad is not None})
        backbone.zero_grad()
    assert plain_runs(backbone, images()) == ("layer1" in trained)
    torch.testing.assert_close(features, backbone.body(images()), rtol=1e-5, atol=1e-5)
    plain, found = gradients
    assert plain.keys() == found.keys() == {n for n, stage in backbone.stage_of.items() if stage in trained}
    assert all(error(found[name], plain[name]) < 1e-4 for name in plain)


@pytest.mark.parametrize("trained", TRAINED)
def test_bf16_features_differ_by_rounding_alone(trained: tuple[str, ...]) -> None:
    backbone = network(trained=trained)
    exact = backbone.body(images())
    with torch.autocast("cpu", torch.bfloat16):
        plain, found = backbone.body(images()), backbone(images())
    assert found.dtype == plain.dtype == torch.bfloat16
    assert error(found, exact) < 1.5 * error(plain, exact) < 0.05


def test_weights_in_half_precision_stay_so() -> None:
    backbone = network(trained=LAYER4)
    exact = backbone.body(images())
    backbone.to(torch.bfloat16)
    plain, found = backbone.body(images().bfloat16()), backbone(images().bfloat16())
    assert found.dtype == torch.bfloat16
    assert error(found, exact) < 1.5 * error(plain, exact) < 0.05


@pytest.mark.parametrize("name", ["resnet18d", "seresnet50", "resnetaa50", "resnest14d", "resnet50_gn", "res2net50d"])
@pytest.mark.parametrize("trained", [(), LAYER4])
def test_variants_of_resnet_are_right(name: str, trained: tuple[str, ...]) -> None:
    backbone = network(name, trained)
    assert backbone.folded is not None
    assert error(backbone(images()), backbone.body(images())) < 1e-4


@pytest.mark.parametrize("name", ["test_efficientnet", "test_convnext", "test_vit", "mobilenetv3_small_050"])
def test_other_families_run_as_they_are(name: str) -> None:
    backbone = network(name, LAYER4)
    faces = images(size=160)
    torch.manual_seed(0)
    expected = backbone.body(faces)
    torch.manual_seed(0)
    assert torch.equal(backbone(faces), expected)


@pytest.mark.parametrize("tensor", ["conv1.weight", "bn1.weight", "bn1.bias", "bn1.running_mean", "bn1.running_var"])
@pytest.mark.parametrize("how", ["loaded", "assigned", "by hand"])
def test_what_changes_is_folded_anew(tensor: str, how: str) -> None:
    backbone = network(trained=LAYER4)
    before = backbone(images())
    state = {name: value.clone() for name, value in backbone.state_dict().items()}
    state[f"body.layer2.0.{tensor}"] *= 2
    if how == "by hand":  # noticed when stages are set, at the latest in the next epoch
        backbone.state_dict()[f"body.layer2.0.{tensor}"].mul_(2)
        backbone.set_trainable(LAYER4)
    else:
        backbone.load_state_dict(state, assign=how == "assigned")
    assert error(backbone(images()), before) > 1e-3
    assert error(backbone(images()), backbone.body(images())) < 1e-5


def test_weights_loaded_into_a_whole_model_are_folded_anew() -> None:
    model, other = nn.Sequential(network(trained=LAYER4)), nn.Sequential(network(seed=3))
    model(images())
    model.load_state_dict(other.state_dict())
    assert error(model(images()), model[0].body(images())) < 1e-5


def test_evaluation_is_that_of_the_plain_network() -> None:
    backbone = network(trained=LAYER4).eval()
    assert torch.equal(backbone(images()), backbone.body(images()))
    assert plain_runs(backbone, images())


def test_training_after_an_evaluation_folds() -> None:
    backbone = network().eval()
    backbone.set_trainable(LAYER4)
    assert not plain_runs(backbone, images())


def test_a_compiler_sees_the_plain_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert plain_runs(network(), images())


def test_what_does_more_than_its_parent_class_runs_as_it_is() -> None:
    class Louder(nn.BatchNorm2d):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * super().forward(x)

    backbone = network()
    loud = Louder(backbone.body.bn1.num_features)
    backbone.body.bn1 = loud
    backbone.stage_of |= {"bn1.weight": "stem", "bn1.bias": "stem"}
    backbone.set_trainable(())
    assert error(backbone(images()), backbone.body(images())) < 1e-5


def test_what_is_unfrozen_by_hand_trains() -> None:
    backbone = network(trained=LAYER4)
    backbone.body.layer3.requires_grad_(True)
    backbone(images()).sum().backward()
    assert all(parameter.grad is not None for parameter in backbone.body.layer3.parameters())


def test_statistics_that_are_let_move_by_hand_move() -> None:
    backbone = network(trained=LAYER4)
    backbone.body.layer3.train()
    before = backbone.body.layer3[0].bn1.running_mean.clone()
    backbone(images())
    assert not torch.equal(backbone.body.layer3[0].bn1.running_mean, before)


def test_images_get_their_gradient() -> None:
    backbone, faces = network(), images().requires_grad_()
    backbone(faces).sum().backward()
    assert faces.grad is not None


def test_state_copies_and_pickles_do_not_know_of_it() -> None:
    backbone = network(trained=LAYER4)
    names = [*backbone.state_dict()], [name for name, _ in backbone.named_parameters()], len([*backbone.modules()])
    size = len(pickle.dumps(backbone))
    expected = backbone(images())
    assert names == ([*backbone.state_dict()], [n for n, _ in backbone.named_parameters()], len([*backbone.modules()]))
    assert len(pickle.dumps(backbone)) == size
    for copy in (deepcopy(backbone), pickle.loads(pickle.dumps(backbone))):
        assert torch.equal(copy(images()), expected)
        nn.init.zeros_(copy.body.bn1.weight)
        copy.set_trainable(LAYER4)
        assert not torch.equal(copy(images()), expected)
    assert torch.equal(backbone(images()), expected)


def test_no_copy_is_left_when_all_train() -> None:
    backbone = network()
    backbone(images())
    prefix = weakref.ref(backbone.folded)
    assert prefix() is not None
    backbone.set_trainable(BACKBONE_STAGES)
    gc.collect()
    assert prefix() is None
    assert torch.equal(backbone(images()), backbone.body(images()))
