"""The preprocessing inside the ONNX files, against that of evaluation, and what ONNX cannot express."""

from collections.abc import Callable

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from emotion_lightning.batch import IMAGENET
from emotion_lightning.data.images.decode import to_tensor
from emotion_lightning.errors import UsageError
from emotion_lightning.export.about import About
from emotion_lightning.export.graph import core_graph, whole_graph
from emotion_lightning.export.network import Core, exported
from emotion_lightning.model.tta import TTA, tta_logits
from tests.helpers import Lab

SIDE = 24


class Network(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, images: Tensor) -> Tensor:
        return self.function(images)


@pytest.fixture(scope="module")
def resized() -> Callable[[np.ndarray], np.ndarray]:
    """Gray levels that a network is given, but for what is added to all of a color, which a softmax leaves out."""
    names = [str(number) for number in range(3 * SIDE * SIDE)]
    about = About(names, SIDE, IMAGENET, 1.0, "none", None, "none", None)
    core = core_graph(exported(Network(lambda images: images.flatten(1)), torch.zeros(2, 3, SIDE, SIDE)))
    session = onnxruntime.InferenceSession(whole_graph(core, about).SerializeToString())

    def levels(picture: np.ndarray) -> np.ndarray:
        [logarithms] = np.log(session.run(None, {"pictures": picture[None]})[0].astype(np.float64))
        return logarithms.reshape(3, SIDE, SIDE) * 255 * np.array(IMAGENET.std).reshape(3, 1, 1)

    return levels


@pytest.mark.parametrize("size", [(16, 16), (18, 36), (48, 48), (56, 56), (31, 47), (1, 3), (150, 20), (120, 150)])
@pytest.mark.parametrize("channels", [1, 3])
def test_small_pictures_become_the_pixels_of_evaluation_to_the_bit(
    size: tuple[int, int], channels: int, resized: Callable[[np.ndarray], np.ndarray]
) -> None:
    assert np.abs(deviation(size, channels, resized)).max() < 1e-3


@pytest.mark.parametrize("size", [(150, 130), (130, 200), (700, 900), (224, 224)])
def test_large_pictures_deviate_by_rounding_alone_at_their_borders_too(
    size: tuple[int, int], resized: Callable[[np.ndarray], np.ndarray]
) -> None:
    found = np.abs(deviation(size, 3, resized))
    assert found.max() < 1.1
    assert found.mean() < 0.01


def deviation(size: tuple[int, int], channels: int, resized: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Gray levels by which a picture of noise differs from what evaluation makes of it."""
    noise = np.random.default_rng(0).integers(0, 256, (*size, channels), dtype=np.uint8)
    picture = Image.fromarray(noise.squeeze(-1) if channels == 1 else noise).convert("RGB")
    difference: np.ndarray = resized(noise) - to_tensor(picture, SIDE).numpy()
    return difference - np.median(difference, axis=(1, 2), keepdims=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backbone", "tta"),
    [("test_resnet", "tencrop"), ("test_vit", "flip"), ("test_convnext", "none"), ("test_efficientnet", "none")],
)
def test_any_number_of_images_gets_the_answers_of_the_model_in_its_views(backbone: str, tta: TTA, lab: Lab) -> None:
    model = lab.model(backbone=backbone, tta=tta, input_size=32).eval()
    graph = core_graph(exported(Core(model), torch.zeros(2, 3, 32, 32)))
    session = onnxruntime.InferenceSession(graph.SerializeToString())
    for number in (1, 2, 7):
        images = torch.randn(number, 3, 32, 32)
        with torch.no_grad():
            expected = tta_logits(model, images, tta)
        assert torch.from_numpy(session.run(None, {"images": images.numpy()})[0]).allclose(expected, atol=1e-5)
    assert not any(
        attribute.name == "antialias" and attribute.i for node in graph.graph.node for attribute in node.attribute
    )


def test_a_graph_says_nothing_of_this_machine(lab: Lab) -> None:
    graph = core_graph(exported(Core(lab.model()), torch.zeros(2, 3, 32, 32)))
    assert b"site-packages" not in graph.SerializeToString()
    assert [dim.dim_param or dim.dim_value for dim in graph.graph.input[0].type.tensor_type.shape.dim] == [
        *("batch", 3, 32, 32)
    ]


def test_what_onnx_has_no_operator_for_is_said_in_a_line() -> None:
    network = Network(lambda images: torch.special.i0e(images.flatten(1)))
    with pytest.raises(UsageError, match=r"^ONNX has no operator for .*torch\.ops\.prims\.bessel_i0e.*`backbone`"):
        core_graph(exported(network, torch.zeros(2, 3, 8, 8)))


def test_what_depends_on_the_values_of_images_is_said_in_a_line() -> None:
    network = Network(lambda images: images if images.sum() > 0 else -images)
    with pytest.raises(UsageError, match=r"torch\.export cannot export this network") as refused:
        exported(network, torch.zeros(2, 3, 8, 8))
    assert "\n" not in str(refused.value)
