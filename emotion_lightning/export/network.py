"""The network as torch.export sees it: what is between pixels and probabilities, without a trainer around it."""

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram, export

from emotion_lightning.errors import UsageError
from emotion_lightning.export.about import About
from emotion_lightning.model.network import EmotionNetwork
from emotion_lightning.model.tta import averaged, views


class Core(nn.Module):
    """Normalized images ``(B, 3, side, side)`` to logits ``(B, classes)``, over the views of the model's ``tta``."""

    def __init__(self, model: EmotionNetwork):
        super().__init__()
        self.backbone, self.classifier, self.tta = model.backbone, model.classifier, model.hparams["tta"]

    def forward(self, images: Tensor) -> Tensor:
        """Classify the images, all their views at once, so that the network stands in the program once."""
        seen = list(views(images, self.tta))
        logits: Tensor = self.classifier(self.backbone(torch.cat(seen)))
        return averaged(logits.view(len(seen), images.shape[0], -1)) if len(seen) > 1 else logits


class PixelClassifier(nn.Module):
    """Pixels uint8 ``(B, 3, side, side)`` to calibrated probabilities ``(B, classes)``."""

    mean: Tensor
    std: Tensor

    def __init__(self, model: EmotionNetwork, about: About):
        super().__init__()
        self.core, self.temperature = Core(model), about.temperature
        for name, values in about.normalization._asdict().items():
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        """Classify the images."""
        logits: Tensor = self.core((pixels.float() / 255 - self.mean) / self.std)
        return (logits / self.temperature).softmax(dim=1)


def exported(network: nn.Module, images: Tensor) -> ExportedProgram:
    """Export ``network``, in evaluation mode, for any number of images like those of an example of two.

    Raises:
        UsageError: torch cannot export it, as it does what depends on the values of the images.
    """
    try:
        with torch.no_grad():
            return export(network.eval(), (images,), dynamic_shapes=({0: Dim("batch")},))
    except Exception as error:  # torch.export raises nearly anything, of private modules too
        first = next(filter(None, map(str.strip, str(error).splitlines())), type(error).__name__)
        raise UsageError(f"torch.export cannot export this network: {first}; choose another `backbone`") from error
