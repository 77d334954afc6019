"""Whether frozen modules are still what they were, at a cost that a training step does not feel."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

SETTINGS = ("eps", "stride", "padding", "dilation", "groups", "padding_mode")
"""Numbers of a module that its output depends on."""

COMPARED = "cpu"
"""Type of the device whose values are compared: reading them elsewhere would wait for the device in each step."""

WHOLE = 4096
"""Elements up to which a tensor's values are compared one by one; of a larger one, about 64 are."""


class Watch:
    """Notices what is done to modules by hand.

    Noticed are modules, parameters and buffers that were replaced, settings such as ``eps``, and every change of a
    tensor in place, by the versions that torch counts. Changes of ``tensor.data`` or through NumPy are not counted.
    On a CPU the values are compared instead: all of a small tensor's, which those of BatchNorm are, and some of a large
    one's. Elsewhere this would wait for the device in each step.

    Args:
        network: What the modules belong to; only its own children are watched.
        parts: Those of its modules that are watched, with all that is in them.
    """

    def __init__(self, network: nn.Module, parts: Sequence[nn.Module]):
        # by torch's private names: walking through the public ones takes 2 ms in each step. Were they gone, the first
        # step with frozen stages would fail with AttributeError
        modules = [module for part in parts for module in part.modules()]
        self._hooked = [network, *modules]
        # a part without parameters, such as the first ReLU, is in the mode of the whole network
        self._modes = [m for part in parts if any(True for _ in part.parameters()) for m in part.modules()]
        self._tables = [table for m in self._hooked for table in (m._modules, m._parameters, m._buffers)]
        self._settings = [(vars(module), name) for module in modules for name in SETTINGS if name in vars(module)]
        self._parameters = [parameter for module in modules for parameter in module.parameters(recurse=False)]
        buffers = [buffer for module in modules for buffer in module.buffers(recurse=False)]
        # DistributedDataParallel writes buffers anew in each step
        counted = self._parameters if torch.distributed.is_initialized() else [*self._parameters, *buffers]
        self._counted = [tensor for tensor in counted if not tensor.is_inference()]
        compared = [t for t in (*self._parameters, *buffers) if t.device.type == COMPARED and t.is_floating_point()]
        self._samples = [_sample(tensor) for tensor in compared]
        self._state, self._values = self._current(), self._sampled()

    def sees_a_change(self) -> bool:
        """Say whether anything is different from when this was made."""
        if self._current() != self._state:
            return True
        return bool(self._samples) and not torch.equal(self._sampled(), self._values)

    def needs_the_network(self) -> bool:
        """Say whether the modules themselves must run: for gradients, statistics, hooks or another ``forward``."""
        if any(parameter.requires_grad for parameter in self._parameters) or any(m.training for m in self._modes):
            return True
        return any(m._forward_hooks or m._forward_pre_hooks or "forward" in vars(m) for m in self._hooked)

    def _current(self) -> list[list[object]]:
        return [
            [id(value) for table in self._tables for value in table.values()],
            [(tensor._version, tensor.data_ptr()) for tensor in self._counted],
            [table.get(name) for table, name in self._settings],
        ]

    def _sampled(self) -> Tensor:
        return torch.cat(self._samples) if self._samples else torch.empty(0)


def _sample(tensor: Tensor) -> Tensor:
    """A view of some of the elements, evenly spaced in memory."""
    step = 1 if tensor.numel() <= WHOLE else tensor.numel() // 64
    return tensor.detach().as_strided((-(-tensor.numel() // step),), (step,))
