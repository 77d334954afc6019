"""The frozen first stages of a ResNet on a copy in which every BatchNorm is folded into its convolution."""

from collections.abc import Iterable, Sequence
from copy import deepcopy
from itertools import pairwise
from typing import Any, Self

import torch
from timm.models.resnet import BasicBlock, Bottleneck, ResNet
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from emotion_lightning.model.watch import Watch

LAYERS = ("layer1", "layer2", "layer3", "layer4")
PAIRS_OF_A_BLOCK = (("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3"))


class FoldedBackbone:
    """A ResNet as it trains while its first stages are frozen.

    These run in inference mode, in the dtype that training computes in, on a copy whose convolutions do the work of the
    BatchNorm after them. Attention, anti-aliasing and blocks of other kinds are copied as they are.

    The copy is made at the first batch, and again when something of the frozen stages is not what it was; see
    ``Watch``. Where one of their modules has a hook or a ``forward`` of its own, the plain network runs.

    Nothing here belongs to the network: its parameters, state dict, copies and pickles do not know of it.

    Args:
        body: The network.
        frozen: Names of its frozen stages, from ``stem`` on without a gap. All others run as they are.
    """

    def __init__(self, body: ResNet, frozen: Sequence[str]):
        self.body, self.frozen = body, frozen
        self._copy: nn.Module | None = None
        self._copied_for: object = None
        self._look()

    def _look(self) -> None:
        layers = [self.body.get_submodule(name) for name in LAYERS]
        stem = [self.body.get_submodule(name) for name in ("conv1", "bn1", "act1", "maxpool")]
        count = sum(name in self.frozen for name in LAYERS)
        self._parts, self._rest = stem + layers[:count], layers[count:]
        self._watch = Watch(self.body, self._parts)
        self._copy = None

    @classmethod
    def of(cls, body: nn.Module, frozen: Sequence[str]) -> Self | None:
        """Return one for timm's ResNets in any variant; the frozen stages of other networks run as they are."""
        return cls(body, frozen) if frozen and type(body) is ResNet else None

    def can_run(self, images: Tensor) -> bool:
        """Return False if gradients, a module in training mode, hooks or torch.compile need the plain network."""
        if torch.compiler.is_compiling() or images.requires_grad:
            return False
        if self._watch.sees_a_change():
            self._look()
        return not self._watch.needs_the_network()

    def __call__(self, images: Tensor) -> Tensor:
        """Pool ``images`` ``(B, 3, H, W)`` to features ``(B, num_features)``."""
        with torch.inference_mode():
            maps = self._folded(images.device.type)(images)
        maps = maps.clone()  # autograd saves no tensor that inference mode made
        for layer in self._rest:
            maps = layer(maps)
        features: Tensor = self.body.forward_head(maps)
        return features

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle without the folded weights."""
        return type(self), (self.body, self.frozen)

    def _folded(self, device: str) -> nn.Module:
        weight = next(self._parts[0].parameters())
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype
        key = weight.device, weight.dtype, dtype
        if self._copy is None or key != self._copied_for:
            exact = torch.promote_types(weight.dtype, torch.float32)
            copy = nn.Sequential(*deepcopy(self._parts)).eval().to(exact)
            _fold(copy)
            copy.to(weight.dtype)
            for module in copy.modules():
                if type(module) is nn.Conv2d:  # autocast would cast its weights at every step
                    module.to(dtype)
            self._copy, self._copied_for = copy, key
        return self._copy


def _fold(network: nn.Module) -> None:
    for module in list(network.modules()):
        for first, second in _pairs(module):
            convolution, norm = getattr(module, first, None), getattr(module, second, None)
            # only the plain classes: one that inherits from them may also pad, or activate
            if type(convolution) is nn.Conv2d and type(norm) is nn.BatchNorm2d and norm.running_mean is not None:
                setattr(module, first, fuse_conv_bn_eval(convolution, norm))
                setattr(module, second, nn.Identity())


def _pairs(module: nn.Module) -> Iterable[tuple[str, str]]:
    """Names of children of which the second is given what the first returns, and nothing else is."""
    if type(module) in (BasicBlock, Bottleneck):
        return PAIRS_OF_A_BLOCK
    return pairwise(name for name, _ in module.named_children()) if type(module) is nn.Sequential else ()
