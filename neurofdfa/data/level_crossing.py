"""From continuous time series to spikes: resampling, and send-on-delta (level-crossing) encoding."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Series = NDArray[np.float64]


def resample(values: Series, steps: int) -> Series:
    """Stretch a series [L, c] to [steps, c] by linear interpolation; first and last points are kept."""
    position = np.linspace(0.0, len(values) - 1.0, steps)
    below = np.minimum(position.astype(np.int64), max(len(values) - 2, 0))
    above = np.minimum(below + 1, len(values) - 1)
    weight = (position - below)[:, None]
    return (1.0 - weight) * values[below] + weight * values[above]


def level_crossing(values: Series, delta: float) -> NDArray[np.uint8]:
    """Encode series [N, T, c] as spikes [N, T, 2c]: c channels of upward crossings, then c of downward ones.

    Send-on-delta: a reference r starts at 0; at each step, an up spike if x − r ≥ delta, a down spike if
    x − r ≤ −delta, and r moves by delta with it. At most one spike per channel and step: r lags behind jumps
    and catches up; Σ_t delta · (up − down) follows x. As r starts at 0, the first spikes tell the level.
    """
    return cross_levels(values, delta, np.zeros((values.shape[0], values.shape[2])))[0]


def cross_levels(values: Series, delta: float, reference: Series) -> tuple[NDArray[np.uint8], Series]:
    """As `level_crossing`, going on from `reference` [N, c]; also returns the reference to go on from
    later.
    """
    n, steps, channels = values.shape
    spikes = np.zeros((n, steps, 2 * channels), dtype=np.uint8)
    reference = reference.copy()
    for t in range(steps):
        distance = values[:, t] - reference
        up, down = distance >= delta, distance <= -delta
        spikes[:, t, :channels], spikes[:, t, channels:] = up, down
        reference += delta * (up.astype(np.float64) - down)
    return spikes, reference


def reconstruct(spikes: NDArray[np.uint8], delta: float) -> Series:
    """Invert `level_crossing` up to delta: the running reference [N, T, c] that the spikes stand for."""
    channels = spikes.shape[2] // 2
    steps = spikes[:, :, :channels].astype(np.float64) - spikes[:, :, channels:]
    return delta * np.cumsum(steps, axis=1)
