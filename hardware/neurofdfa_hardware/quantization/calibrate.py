"""Choosing the weight step: how much float weight one integer stands for."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]
Method = Literal["max", "percentile", "mse", "spikes"]
Rounding = Literal["nearest", "stochastic"]

METHODS: tuple[Method, ...] = ("max", "percentile", "mse", "spikes")
# Fractions of the largest weight at which the integers are made to saturate, for the searching methods.
_FRACTIONS = np.concatenate([np.linspace(1.0, 0.5, 11), np.geomspace(0.45, 0.05, 12)])


def weight_range(bits: int) -> tuple[int, int]:
    """Smallest and largest integer weight: two's complement; −1, 0, 1 at 1 bit (a connection per sign)."""
    return (-1, 1) if bits == 1 else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def round_weights(
    weight: Float64, step: Float64, bits: int, rounding: Rounding, rng: np.random.Generator | None
) -> NDArray[np.int64]:
    """`weight` `[n, m]` in units of `step` `[n]`, rounded and clipped to the range of `bits`.

    stochastic rounds up with the probability of the fraction, so that it is right on average; it needs `rng`.
    """
    exact = weight / step[:, None]
    if rounding == "stochastic":
        assert rng is not None
        rounded = np.floor(exact + rng.random(exact.shape))
    else:
        rounded = np.rint(exact)
    return np.clip(rounded, *weight_range(bits)).astype(np.int64)


def max_step(weight: Float64, bits: int, per_channel: bool) -> Float64:
    """The step `[n]` at which the largest weight, of each neuron or of all, is the largest integer."""
    return _row_wise(np.abs(weight).max(axis=1), per_channel) / weight_range(bits)[1]


def percentile_step(weight: Float64, bits: int, per_channel: bool, percentile: float) -> Float64:
    """The step `[n]` at which that percentile of |weight| is the largest integer; the rest is clipped."""
    magnitude = np.abs(weight)
    if per_channel:
        reach = np.percentile(magnitude, percentile, axis=1)
    else:
        reach = np.full(len(weight), np.percentile(magnitude, percentile))
    fallback = max_step(weight, bits, per_channel)
    return np.where(reach > 0, reach / weight_range(bits)[1], fallback)


def mse_step(weight: Float64, bits: int, per_channel: bool) -> Float64:
    """The step `[n]` with the smallest squared rounding error, of each neuron or of all."""
    candidates = max_step(weight, bits, per_channel) * _FRACTIONS[:, None]
    errors = np.empty_like(candidates)
    for row, step in enumerate(candidates):
        integers = round_weights(weight, step, bits, "nearest", None)
        errors[row] = np.sum((integers * step[:, None] - weight) ** 2, axis=1)
    if not per_channel:
        errors[:] = errors.sum(axis=1, keepdims=True)
    best = np.argmin(errors, axis=0)
    return candidates[best, np.arange(len(weight))]


def search_steps(weight: Float64, bits: int, per_channel: bool) -> list[Float64]:
    """Steps worth trying on data: fractions of the largest weight, and the one of least squared error."""
    widest = max_step(weight, bits, per_channel)
    tried = [widest * fraction for fraction in _FRACTIONS[[0, 2, 4, 6, 8, 10, 13, 16]]]
    return [mse_step(weight, bits, per_channel), *tried]


def _row_wise(reach: Float64, per_channel: bool) -> Float64:
    whole = float(reach.max())
    # All-zero rows take any step; 1 keeps the threshold in range when the whole layer is zero.
    if not per_channel:
        return np.full(len(reach), whole if whole > 0 else 1.0)
    return np.where(reach > 0, reach, whole if whole > 0 else 1.0)
