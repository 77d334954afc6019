import gc
import pickle
import weakref
from collections.abc import Callable
from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from emotion_lightning.model import frozen
from emotion_lightning.model.backbone import BACKBONE_STAGES, Backbone
from emotion_lightning.model.frozen import FoldedBackbone

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
    """Whether the network runs as it is for a batch, and not the copy."""
    calls = []
    run = FoldedBackbone.__call__

    def counted(folded: FoldedBackbone, faces: Tensor) -> Tensor:
        calls.append(1)
        return run(folded, faces)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FoldedBackbone, "__call__", counted)
        backbone(faces)
    return not calls


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
    assert plain_runs(backbone, images()) == ("stem" in trained)
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


def changed(change: Callable[[nn.Module], object], trained: tuple[str, ...] = LAYER4) -> None:
    """Assert that the next batch after a ``change`` of the network is right, and that the change mattered."""
    backbone = network(trained=trained)
    before = backbone(images())
    change(backbone.body)
    found = backbone(images())
    assert error(found, before) > 1e-4
    assert error(found, backbone.body(images())) < 1e-5


TENSORS = ["conv1.weight", "bn1.weight", "bn1.bias", "bn1.running_mean", "bn1.running_var"]


@pytest.mark.parametrize("tensor", TENSORS)
@pytest.mark.parametrize("assign", [False, True])
def test_what_is_loaded_is_folded_anew(tensor: str, assign: bool) -> None:
    def load(body: nn.Module) -> None:
        state = {name: value.clone() for name, value in body.state_dict().items()}
        state[f"layer2.0.{tensor}"] *= 2
        body.load_state_dict(state, assign=assign)

    changed(load)


@pytest.mark.parametrize("tensor", TENSORS)
@pytest.mark.parametrize(
    "change",
    [
        lambda value: value.data.mul_(2),
        lambda value: value.detach().add_(0.5),
        lambda value: value.detach().view(-1)[7:8].add_(9),
        lambda value: np.multiply(value.detach().numpy(), 2, out=value.detach().numpy()),
        lambda value: setattr(value, "data", value.data * 2),
    ],
    ids=["data", "in place", "one element", "numpy", "other data"],
)
def test_what_is_changed_by_hand_is_folded_anew(tensor: str, change: Callable[[Tensor], object]) -> None:
    changed(lambda body: change(body.state_dict(keep_vars=True)[f"layer2.0.{tensor}"]))


def other_convolution(body: nn.Module) -> None:
    body.layer2[0].conv1 = nn.Conv2d(*body.layer2[0].conv1.weight.shape[1::-1], 3, 2, 1, bias=False)


def other_layer(body: nn.Module) -> None:
    body.layer1 = nn.Sequential(body.layer1, nn.Tanh()).eval()


@pytest.mark.parametrize(
    "change",
    [
        lambda body: setattr(body.layer2[0].bn1, "eps", 1.0),
        lambda body: setattr(body.layer2[0].conv2, "padding_mode", "circular"),
        lambda body: setattr(body.layer1[0], "act1", nn.Tanh()),
        lambda body: setattr(body, "act1", nn.Tanh()),
        lambda body: setattr(body.bn1, "weight", nn.Parameter(body.bn1.weight + 1, requires_grad=False)),
        lambda body: body.bn1.register_buffer("running_mean", body.bn1.running_mean + 1),
        other_convolution,
        other_layer,
    ],
    ids=["eps", "padding", "activation", "first activation", "parameter", "buffer", "convolution", "layer"],
)
def test_settings_and_modules_that_are_replaced_are_noticed(change: Callable[[nn.Module], object]) -> None:
    changed(change)


def test_a_module_in_place_of_a_later_layer_runs() -> None:
    changed(lambda body: setattr(body, "layer4", nn.Sequential(body.layer4, nn.Tanh())))


@pytest.mark.parametrize("where", ["", "conv1", "layer1", "layer1.0", "layer2.0.bn1"])
def test_hooks_on_frozen_modules_fire_in_training(where: str) -> None:
    backbone = network(trained=LAYER4)
    assert not plain_runs(backbone, images())
    module, calls = backbone.body.get_submodule(where), []
    for register in (module.register_forward_hook, module.register_forward_pre_hook):
        handle = register(lambda *_: calls.append(1))
        assert plain_runs(backbone, images())
        handle.remove()
    assert len(calls) == 2
    assert not plain_runs(backbone, images())


def test_another_forward_of_a_frozen_module_runs() -> None:
    changed(lambda body: setattr(body.layer1[0], "forward", lambda x: x.tanh()))


def test_without_a_change_nothing_is_folded_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    folds = []
    monkeypatch.setattr(frozen, "_fold", folds.append)
    backbone = network(trained=LAYER4)
    optimizer = torch.optim.AdamW(backbone.parameters(), weight_decay=1.0, fused=True)
    for _ in range(3):
        backbone(images()).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        backbone.state_dict()
    assert len(folds) == 1


@pytest.mark.parametrize("buffer", ["running_mean", "running_var"])
def test_buffers_that_several_processes_exchange_in_each_step_are_not_folded_in_each(
    monkeypatch: pytest.MonkeyPatch, buffer: str
) -> None:
    folds = []
    monkeypatch.setattr(frozen, "_fold", folds.append)
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    backbone = network(trained=LAYER4)
    for _ in range(3):
        values = getattr(backbone.body.bn1, buffer)
        values.copy_(values.clone())  # as DistributedDataParallel does
        backbone(images())
    assert len(folds) == 1


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
