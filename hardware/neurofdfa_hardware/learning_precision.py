"""How exactly the traces of Loihi's learning engine can follow an eligibility trace.

Traces have 7 bits and no sign, weights and tags 8 bits and a sign; decays are rounded stochastically.
Davies et al., IEEE Micro 38(1), 2018; lava-nc 0.10.0.
"""

from collections.abc import Sequence

import numpy as np

TRACE_BITS = 7
WEIGHT_BITS = 8  # and a sign
TAG_BITS = 8  # and a sign
TRACE_MAX = 2**TRACE_BITS - 1
IMPULSE = 16  # of x1 in `neurofdfa_hardware.lava.learning`


def kernel(decays: Sequence[float], steps: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Response of a cascade of leaky filters to one spike, `[steps]`."""
    response = np.zeros(steps)
    response[0] = 1.0
    for decay in decays:
        for t in range(1, steps):
            response[t] += decay * response[t - 1]
    return response


def kernel_error(decays: Sequence[float], steps: int, traces: int) -> float:
    """Shard of a cascade's kernel that the best `traces` (1 or 2) exponentials miss: ‖h − fit‖ / ‖h‖."""
    wanted = kernel(decays, steps)
    grid = np.unique(np.concatenate([np.linspace(0.0, 1.0, 41), [d for d in decays if 0 < d <= 1]]))
    shapes = grid[:, None] ** np.arange(steps)
    best = 1.0
    for first in range(len(grid)):
        for second in range(first, len(grid)) if traces == 2 else (first,):
            basis = shapes[[first, second] if second != first else [first]].T
            rest = wanted - basis @ np.linalg.lstsq(basis, wanted, rcond=None)[0]
            best = min(best, float(np.linalg.norm(rest) / np.linalg.norm(wanted)))
    return best


def trace_noise(decay: float, impulse: int = IMPULSE) -> float:
    """Standard deviation that stochastic rounding leaves on a trace, in units of one spike's impulse.

    A decay that leaves the fraction p rounds with variance p(1 − p), 1/6 on average, and what was rounded
    decays on: 1/6/(1 − d²). A trace that does not decay is not rounded.
    """
    return 0.0 if decay in (0.0, 1.0) else float(np.sqrt(1 / 6 / (1 - decay**2)) / impulse)


def spikes_held(decay: float, impulse: int = IMPULSE) -> float:
    """Spikes per step above which a trace of 7 bits stands at its limit; 0 for one that never decays."""
    return float(TRACE_MAX * (1 - decay) / impulse)
