"""Means over seeds with their uncertainty, and paired differences between rules that share seeds.

With n values x of mean m and standard deviation s (n − 1 in the denominator):
95 % interval of the mean: m ± t(0.975, n − 1) · s / √n (Student, Biometrika 6, 1908).
Paired difference: the same for dᵢ = aᵢ − bᵢ of equal seeds; its p is that of the paired t test.
Wilcoxon's signed-rank test (Biometrics Bulletin 1, 1945) asks no normal distribution; with n seeds its
smallest p is 2 / 2ⁿ, so that fewer than six seeds can never reach 0.05.
Several comparisons with one reference: Holm's step-down correction (Scand. J. Statist. 6, 1979).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """Mean of n values; std and ci95 (low, high) are None for a single one."""

    n: int
    mean: float
    std: float | None
    ci95: tuple[float, float] | None


@dataclass(frozen=True)
class Difference:
    """Mean of n paired differences, its 95 % interval, and the p of both tests (None where undefined).

    p_t is undefined when all differences are equal but not zero: there is nothing to judge them by.
    p_holm: p_t corrected for several comparisons with one reference, where there are several.
    """

    n: int
    mean: float
    ci95: tuple[float, float] | None
    p_t: float | None
    p_wilcoxon: float | None
    p_holm: float | None = None


def mean(values: Sequence[float]) -> float | None:
    """None without values."""
    return sum(values) / len(values) if values else None


def estimate(values: Sequence[float]) -> Estimate | None:
    """Mean and interval of some values; None without any."""
    n = len(values)
    if n == 0:
        return None
    middle = math.fsum(values) / n
    if n == 1:
        return Estimate(1, middle, None, None)
    std = math.sqrt(math.fsum((value - middle) ** 2 for value in values) / (n - 1))
    half = _quantile(n - 1) * std / math.sqrt(n)
    return Estimate(n, middle, std, (middle - half, middle + half))


def paired(a: Mapping[int, float], b: Mapping[int, float]) -> Difference | None:
    """Paired a − b over the seeds (keys) that both have; None when they share none."""
    seeds = sorted(a.keys() & b.keys())
    differences = [a[seed] - b[seed] for seed in seeds]
    found = estimate(differences)
    if found is None:
        return None
    if found.n == 1:
        return Difference(1, found.mean, None, None, None)
    d = np.array(differences)
    if not d.any():
        return Difference(found.n, 0.0, (0.0, 0.0), 1.0, 1.0)
    tests: Any = stats
    equal = float(d.max() - d.min()) <= 1e-12 * float(np.abs(d).max())
    p_t = None if equal else float(tests.ttest_1samp(d, 0.0).pvalue)
    # accuracies are multiples of 1 / samples: differences that are equal on paper must tie in floats too
    p_wilcoxon = float(tests.wilcoxon(np.round(d, 12)).pvalue)
    return Difference(found.n, found.mean, found.ci95, p_t, p_wilcoxon)


def holm(p: Sequence[float | None]) -> list[float | None]:
    """Adjusted p values in the order given; None stays None."""
    known = sorted((value, k) for k, value in enumerate(p) if value is not None)
    adjusted: list[float | None] = [None] * len(p)
    highest = 0.0
    for rank, (value, k) in enumerate(known):
        highest = max(highest, min(1.0, (len(known) - rank) * value))
        adjusted[k] = highest
    return adjusted


def _quantile(freedom: int) -> float:
    t: Any = stats.t
    return float(t.ppf(0.5 + CONFIDENCE / 2, freedom))


def reached_by_all(curves: Sequence[Sequence[float]]) -> float | None:
    """The highest accuracy that every one of some learning curves reaches; None without curves."""
    return min((max(curve) for curve in curves if curve), default=None)


def epochs_until(level: float, curve: Sequence[float]) -> int | None:
    """The first epoch, counted from 1, at which a curve is at `level` or above; None where it never is."""
    return next((epoch for epoch, value in enumerate(curve, 1) if value >= level), None)
