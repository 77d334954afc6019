import pytest
import torch

from emotion_lightning.evaluation.significance import mcnemar, permutation_test


def pairs(ours: int, theirs: int, both: int = 5, neither: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    rows = [(True, False)] * ours + [(False, True)] * theirs + [(True, True)] * both + [(False, False)] * neither
    right = torch.tensor(rows)
    return right[:, 0], right[:, 1]


@pytest.mark.parametrize(("ours", "theirs"), [(0, 0), (3, 3), (1, 9), (20, 45), (900, 1100)])
def test_p_is_that_of_the_exact_binomial_test(ours: int, theirs: int) -> None:
    from scipy.stats import binomtest

    found = mcnemar(*pairs(ours, theirs))
    assert found[:2] == (ours, theirs)
    expected = binomtest(ours, ours + theirs).pvalue if ours + theirs else 1.0
    assert found.p == pytest.approx(expected, rel=1e-9)


def test_images_on_which_both_agree_do_not_count() -> None:
    assert mcnemar(*pairs(2, 11, both=0, neither=0)) == mcnemar(*pairs(2, 11, both=500, neither=100))


def test_groups_of_runs_are_compared_by_all_ways_to_deal_their_scores() -> None:
    assert permutation_test([0.9, 0.8, 0.85], [0.1, 0.2, 0.15]) == pytest.approx(2 / 20)  # the least of three and three
    assert permutation_test([0.9, 0.8, 0.85, 0.7], [0.1, 0.2, 0.15, 0.3]) == pytest.approx(2 / 70)
    assert permutation_test([0.5, 0.6], [0.6, 0.5]) == 1
    many = [0.01 * n for n in range(12)]
    assert 0 < permutation_test(many, [score + 9 for score in many]) < 0.001
    assert permutation_test(many, [score + 0.2 for score in many]) < 0.001  # drawn, as there are 2.7 million ways
