import math

import pytest
import torch
from torchmetrics.functional.classification import multiclass_calibration_error

from emotion_lightning.evaluation.calibration import fit_temperature, reliability


def drawn(n: int, temperature: float, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits whose softmax, at ``temperature``, is the very distribution that the labels are drawn from."""
    generator = torch.Generator().manual_seed(seed)
    honest = 2 * torch.randn(n, 4, generator=generator, dtype=torch.double)
    labels = torch.multinomial(honest.softmax(1), 1, generator=generator).squeeze(1)
    return honest * temperature, labels


@pytest.mark.parametrize("temperature", [0.7, 1.0, 3.0])
def test_ece_is_that_of_torchmetrics(temperature: float) -> None:
    logits, labels = drawn(500, 2.0)
    expected = multiclass_calibration_error((logits / temperature).softmax(1), labels, num_classes=4, n_bins=15)
    assert reliability(logits, labels, temperature).ece == pytest.approx(
        expected.item(), abs=1e-6
    )  # which counts in float32


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_the_temperature_is_found_again(temperature: float) -> None:
    logits, labels = drawn(20_000, temperature)
    assert fit_temperature(logits, labels) == pytest.approx(temperature, rel=0.05)
    assert reliability(logits, labels, temperature).ece < 0.02


def test_the_temperature_is_where_the_loss_is_least() -> None:
    logits, labels = drawn(300, 2.5, seed=1)
    found = fit_temperature(logits, labels)
    losses = [torch.nn.functional.cross_entropy(logits / t, labels).item() for t in (0.99 * found, found, 1.01 * found)]
    assert losses[1] == min(losses)


def test_where_nothing_can_be_learnt_the_temperature_is_1() -> None:
    logits = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert fit_temperature(logits, torch.tensor([0, 1])) == 1.0  # all right: no temperature is low enough
    assert fit_temperature(logits, torch.tensor([1, 0])) == 1.0  # all wrong: none is high enough
    assert fit_temperature(logits * float("nan"), torch.tensor([0, 1])) == 1.0
    assert fit_temperature(torch.empty(0, 3), torch.empty(0, dtype=torch.long)) == 1.0


def test_a_temperature_can_be_fitted_where_no_gradients_are_kept() -> None:
    logits, labels = drawn(200, 2.0)
    with torch.inference_mode():
        inside = fit_temperature(logits.clone(), labels.clone())
    assert inside == fit_temperature(logits, labels)


def test_bins_count_every_image_once() -> None:
    bins = reliability(torch.tensor([[9.0, 0.0], [0.0, 0.1], [100.0, 0.0]]), torch.tensor([0, 0, 1]))
    assert bins.images.sum() == 3
    assert bins.images[-1] == 2  # a confidence of exactly 1 too
    assert bins.accuracy[-1] == 0.5
    assert math.isclose(bins.confidence[7].item(), torch.sigmoid(torch.tensor(0.1)).item(), rel_tol=1e-6)
