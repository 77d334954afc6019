"""What in an image speaks for a class: Grad-CAM's heat map, and the picture with the heat laid over it."""

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from emotion_lightning.batch import IMAGENET, normalize
from emotion_lightning.errors import UsageError

FINE = 7
"""Side of the map that the last stage of a ResNet makes of 224 pixels; a coarser one cannot tell eyes from mouth."""

STRONGEST = 0.75
"""Share of the color where the heat is 1."""


def gradcam(model: nn.Module, images: Tensor, classes: Tensor) -> Tensor:
    """Map what in each image speaks for a class, without changing the model.

    This is Grad-CAM (Selvaraju et al., 2017) but for two things:

    - It asks for the class's log-odds, not its logit. What raises the logits of all classes alike decides nothing.
    - It looks at the deepest stage whose map is at least 7 x 7, or at the finest map if there is none, and weighs
      activations by the gradient at their own place (HiResCAM, Draelos and Carin, 2020), not by its mean. At the last
      stage before a global average pool, as for a ResNet50 at 224 pixels, both are the same; small images need an
      earlier stage, where a mean gradient holds for no place.

    It works in `torch.inference_mode`, with frozen parameters and on a model that is training.

    Args:
        model: An EmotionClassifier, or any module from images to logits ``(B, classes)`` that holds a timm model as
            ``backbone.body``.
        images: Normalized images ``(B, 3, H, W)``.
        classes: Label of the class to explain, for each image ``(B,)``.

    Returns:
        Heat ``(B, H, W)`` float32 in [0, 1], on the device of ``images``. Each image's maximum is 1, or 0 where nothing
        speaks for the class.

    Raises:
        UsageError: The backbone has no stage to look at.
    """
    body = model.get_submodule("backbone.body")
    precise = torch.autocast(images.device.type, enabled=False)
    eager = torch.compiler.set_stance("force_eager")  # compiled code ignores hooks that are added later
    with torch.inference_mode(False), precise, eager, _evaluating(model), _stages(body) as stages:
        # clones made here, as autograd takes no tensor that was made in inference mode
        images, classes = images.detach().clone().requires_grad_(), classes.clone()
        log_odds = _log_odds(model(images), classes)
        if not stages:
            raise UsageError("Grad-CAM finds no stage in this backbone; give another `backbone`")
        gradients = torch.autograd.grad(log_odds.sum(), [output for output, _ in stages], materialize_grads=True)
    channels_last = getattr(body, "output_fmt", "NCHW") == "NHWC"
    maps = [
        _map_of(output.detach().float() * gradient.float(), reduction, channels_last, images.shape)
        for (output, reduction), gradient in zip(stages, gradients, strict=True)
    ]
    heat = F.interpolate(_deepest_fine(maps).relu()[:, None], images.shape[2:], mode="bilinear")[:, 0]
    return heat / heat.amax(dim=(1, 2), keepdim=True).clamp(min=torch.finfo(heat.dtype).tiny)


def gradcam_overlay(model: nn.Module, images: Tensor, classes: Tensor) -> Tensor:
    """Lay over pictures what in them speaks for a class.

    Args:
        model: What ``gradcam`` takes.
        images: Pictures ``(B, 3, H, W)`` uint8, RGB.
        classes: Label of the class to explain, for each picture ``(B,)``.

    Returns:
        Pictures ``(B, 3, H, W)`` uint8, RGB, on the CPU.

    Raises:
        UsageError: The backbone has no stage to look at.
    """
    device = next(model.parameters()).device
    normalized = normalize(images.to(device).float() / 255, getattr(model, "normalization", IMAGENET))
    heats = gradcam(model, normalized, classes.to(device)).cpu()
    return torch.stack([overlay(image, heat) for image, heat in zip(images.cpu(), heats, strict=True)])


def overlay(image: Tensor, heat: Tensor) -> Tensor:
    """Lay heat over a picture in the colors of inferno, whose lightness rises with the heat.

    Args:
        image: Picture ``(3, H, W)`` uint8, RGB.
        heat: Heat ``(H, W)`` in [0, 1]; the picture fades in proportion to it and stays as it is where it is 0.

    Returns:
        Picture ``(3, H, W)`` uint8, RGB, on the device of ``image``.
    """
    from matplotlib import colormaps

    heat = heat.to(image.device, torch.float32)
    colors = torch.from_numpy(colormaps["inferno"](heat.cpu().numpy(), bytes=True)).to(image.device)
    mixed = torch.lerp(image.float(), colors[..., :3].movedim(2, 0).float(), STRONGEST * heat)
    return mixed.round().to(torch.uint8)


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, and each module's own mode again afterwards: a frozen stage does not train with the rest."""
    modes = {module: module.training for module in model.modules()}
    try:
        model.eval()
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


@contextmanager
def _stages(body: nn.Module) -> Iterator[list[tuple[Tensor, int]]]:
    """Output of each stage of a timm model and the pixels per side of its cells, from input to output.

    Where a layer norm reads the output, it is the norm's: the norm undoes any scaling of each place, so activations
    in front of it times their gradients are zero up to rounding.
    """
    infos: list[dict[str, Any]] = getattr(body, "feature_info", [])
    modules, stages = dict(body.named_modules()), list[tuple[Tensor, int]]()

    def keep(reduction: int) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor):  # HRNet's stages give several
                stages.append((output, reduction))

        return hook

    def normalize(module: nn.Module, inputs: Any, output: Tensor) -> None:
        if stages and inputs[0] is stages[-1][0]:
            stages[-1] = output, stages[-1][1]

    with ExitStack() as hooks:
        for info in infos:
            if info["module"] in modules:
                hooks.enter_context(modules[info["module"]].register_forward_hook(keep(info["reduction"])))
        for module in modules.values():
            if isinstance(module, nn.LayerNorm | nn.RMSNorm):
                hooks.enter_context(module.register_forward_hook(normalize))
        yield stages


def _log_odds(logits: Tensor, classes: Tensor) -> Tensor:
    """Log-odds ``(B,)`` of a class against all others."""
    chosen = classes[:, None]
    others = logits.scatter(1, chosen, -math.inf)
    return logits.gather(1, chosen)[:, 0] - others.logsumexp(dim=1)


def _map_of(values: Tensor, reduction: int, channels_last: bool, size: torch.Size) -> Tensor:
    """Sum over the channels ``(B, h, w)`` of maps in either layout, or of the tokens that stand for places."""
    if values.ndim == 3:
        height, width = (math.ceil(side / reduction) for side in size[2:])
        return values.sum(dim=2)[:, -height * width :].reshape(-1, height, width)
    return values.sum(dim=3 if channels_last else 1)


def _deepest_fine(maps: list[Tensor]) -> Tensor:
    """The deepest map that is fine enough, or else the finest.

    What a vision transformer's last block makes of the patches does not count where only the class token is read: its
    map is zero throughout.
    """
    return max(reversed(maps), key=lambda values: (bool(values.any()), min(*values.shape[1:], FINE)))
