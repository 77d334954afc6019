import numpy as np
import pytest

from emotion_lightning.tuning.lr_curve import has_diverged, smooth, suggest, sweep_rates

RATES = sweep_rates(1e-6, 1.0, 100)


def batches(seed: int) -> np.ndarray:
    """Losses that differ from batch to batch, as those of small mixed batches do."""
    return 2.5 + 0.3 * np.random.default_rng(seed).standard_normal(100)


def falling(steepest: float) -> np.ndarray:
    """What a loss loses that falls by 1 around a rate."""
    return -1 / (1 + np.exp(-2 * np.log(np.array(RATES) / steepest)))


def test_rates_rise_by_the_same_factor() -> None:
    assert (RATES[0], RATES[-1]) == pytest.approx((1e-6, 1.0))
    assert np.diff(np.log(RATES)) == pytest.approx(np.log(1e6) / 99)


@pytest.mark.parametrize("steepest", [1e-4, 1e-3, 1e-2])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_steepest_descent_is_suggested_however_the_batches_differ(steepest: float, seed: int) -> None:
    reference = batches(seed)
    suggestion = suggest(RATES, list(reference + falling(steepest)), list(reference))
    assert suggestion is not None
    assert abs(np.log10(suggestion / steepest)) < 0.1


def test_what_diverges_afterwards_takes_little_away() -> None:
    reference, losses = batches(0), batches(0) + falling(1e-3)
    losses[80:] += np.geomspace(0.1, 20, 20)
    suggestion = suggest(RATES, list(losses), list(reference))
    assert suggestion is not None
    assert 4e-4 < suggestion < 2e-3
    losses[-1] = np.nan
    assert suggest(RATES, list(losses), list(reference)) == pytest.approx(suggestion, rel=0.5)


@pytest.mark.parametrize("seed", range(20))
def test_a_loss_that_never_falls_clearly_suggests_nothing(seed: int) -> None:
    reference = batches(seed)
    assert suggest(RATES, list(batches(seed + 100)), list(reference)) is None  # differences by chance alone
    assert suggest(RATES, list(reference - 0.01 * np.linspace(0, 1, 100)), list(reference)) is None
    assert suggest(RATES, list(reference + np.linspace(0, 9, 100)), list(reference)) is None
    assert suggest(RATES[:2], [2.0, 1.0], [2.0, 2.0]) is None


def test_smoothing_does_not_lag_and_keeps_the_level() -> None:
    reference = batches(0)
    line = np.linspace(0, 1, 100)
    smoothed = smooth(list(reference + line), list(reference))
    assert smoothed[50] - reference.mean() == pytest.approx(line[50], abs=1e-6)
    assert smooth([3.0] * 5, [2.0] * 5) == pytest.approx([3.0] * 5)  # bias-corrected at both ends
    assert smooth([3.0, 3.0, float("nan"), 3.0, float("inf")], [2.0] * 5) == pytest.approx([3.0] * 5)


def test_a_loss_several_times_its_best_has_diverged_and_a_single_high_one_has_not() -> None:
    assert not has_diverged([2.0])
    assert not has_diverged([2.0] * 10 + [6.0])
    assert has_diverged([2.0] * 10 + [9.0] * 20)
    assert not has_diverged([9.0] * 10 + [2.0] * 10)
    for broken in (float("nan"), float("inf")):
        assert has_diverged([2.0, broken])
