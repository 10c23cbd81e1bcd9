"""The part of on-chip learning that the host does: keeping the feedback B close to the output weights."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Feedback:
    """FDFA on the host: B follows the output weights through random probes and is written back.

    Probes v are Rademacher; the estimate is the mean of v·(W v)ᵀ, B ← (1 − a) B + a·estimate. B is kept in
    weight units and divided by `scale` for the chip's 8 bits.
    """

    def __init__(self, start: ArrayLike, momentum: float, probes: int, scale: int, seed: int) -> None:
        self.exact = np.asarray(start, float) * scale
        self.momentum, self.probes, self.scale = momentum, probes, scale
        self.rng = np.random.default_rng(seed)

    def refresh(self, weights: NDArray[Any]) -> NDArray[np.int64]:
        """New feedback integers `[n_hidden, n_out]` from the output weights `[n_out, n_hidden]`."""
        probes = self.rng.integers(0, 2, (self.probes, weights.shape[1])) * 2 - 1
        estimate = probes.T @ (probes @ weights.T) / self.probes
        self.exact = (1 - self.momentum) * self.exact + self.momentum * estimate
        return np.clip(np.rint(self.exact / self.scale), -128, 127).astype(np.int64)
