"""Means, intervals and paired tests against numbers worked out by hand and printed tables."""

import math

import numpy as np
import pytest
from scipy import stats

from neurofdfa.lab.statistics import epochs_until, estimate, holm, paired, reached_by_all


def test_the_interval_is_students() -> None:
    # 2, 4, 6: mean 4, s = 2; t(0.975, 2) = 4.3027 in any printed table
    found = estimate([2.0, 4.0, 6.0])
    assert found is not None
    assert (found.n, found.mean, found.std) == (3, 4.0, 2.0)
    assert found.ci95 is not None
    half = 4.302653 * 2 / math.sqrt(3)
    assert found.ci95 == pytest.approx((4 - half, 4 + half), abs=1e-5)


def test_one_value_has_no_interval_and_none_no_mean() -> None:
    single = estimate([0.5])
    assert single is not None
    assert (single.mean, single.std, single.ci95) == (0.5, None, None)
    assert estimate([]) is None


def test_the_interval_covers_the_mean_95_times_in_100() -> None:
    draws = np.random.default_rng(3).normal(0.7, 0.02, size=(4000, 5))
    ends = [found.ci95 for row in draws if (found := estimate(list(row))) and found.ci95]
    covered = sum(low <= 0.7 <= high for low, high in ends)
    assert 0.94 < covered / 4000 < 0.96


def test_pairs_are_by_seed_and_only_shared_ones_count() -> None:
    found = paired({0: 3.0, 1: 5.0, 2: 9.0, 7: 1.0}, {2: 5.0, 1: 4.0, 0: 1.0, 8: 100.0})
    assert found is not None
    # differences 2, 1, 4: mean 7/3, s² = 7/3, t = m / (s / √3) = √7, two-sided with 2 degrees of freedom:
    # p = 1 − t / √(t² + 2)
    assert found.n == 3
    assert found.mean == pytest.approx(7 / 3)
    assert found.p_t == pytest.approx(1 - math.sqrt(7) / 3)
    # all three signs agree: 2 of the 2³ sign patterns are as extreme
    assert found.p_wilcoxon == pytest.approx(2 / 8)
    half = 4.302653 * math.sqrt(7 / 3) / math.sqrt(3)
    assert found.ci95 == pytest.approx((7 / 3 - half, 7 / 3 + half), abs=1e-5)


def test_pairing_finds_what_two_samples_hide() -> None:
    rng = np.random.default_rng(0)
    level = rng.normal(0.8, 0.05, 8)  # seeds differ much more than the rules
    a = {k: float(x) for k, x in enumerate(level + 0.01 + rng.normal(0, 0.002, 8))}
    b = {k: float(x) for k, x in enumerate(level)}
    found = paired(a, b)
    assert found is not None
    assert found.p_t is not None
    assert found.p_t < 1e-4
    assert stats.ttest_ind(list(a.values()), list(b.values())).pvalue > 0.5


def test_differences_without_spread() -> None:
    same = paired({0: 0.5, 1: 0.6}, {0: 0.5, 1: 0.6})
    assert same is not None
    assert (same.mean, same.p_t, same.p_wilcoxon) == (0.0, 1.0, 1.0)
    shifted = paired({0: 0.6, 1: 0.7, 2: 0.8}, {0: 0.5, 1: 0.6, 2: 0.7})
    assert shifted is not None
    assert shifted.p_t is None
    assert shifted.p_wilcoxon == pytest.approx(0.25)
    assert paired({0: 1.0}, {1: 1.0}) is None
    single = paired({0: 1.0}, {0: 0.25})
    assert single is not None
    assert (single.n, single.mean, single.p_t, single.ci95) == (1, 0.75, None, None)


def test_holm_steps_down() -> None:
    # sorted 0.01, 0.02, 0.03 times 3, 2, 1, never falling: 0.03, 0.04, 0.04
    assert holm([0.02, None, 0.03, 0.01]) == [
        pytest.approx(0.04),
        None,
        pytest.approx(0.04),
        pytest.approx(0.03),
    ]
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([None]) == [None]


def test_the_level_is_what_the_worst_curve_reached() -> None:
    assert reached_by_all([[0.1, 0.8, 0.7], [0.3, 0.5, 0.6], []]) == 0.6
    assert reached_by_all([]) is None


def test_the_first_epoch_at_a_level_counts() -> None:
    assert epochs_until(0.6, [0.1, 0.8, 0.5]) == 2
    assert epochs_until(0.6, [0.6]) == 1
    assert epochs_until(0.9, [0.6]) is None
