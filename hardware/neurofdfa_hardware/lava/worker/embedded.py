"""What is not done by neuron cores when a chip learns: the error of a sample, and the host's refresh of B.

An embedded processor (the chip's x86 core on Loihi, a Python process in Lava) reads the readout's membranes
and computes the error in integers; the host follows the readout's weights with the feedback.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

ERROR_MAX = 63  # 6 bits and a sign
ERROR_OFFSET = 64  # a payload of 2 · (64 + e) is positive, and a trace takes half of it
STEEPEST = 40
# 2^16 · 2^(−i/16), rounded: a sixteenth of an octave per unit of score.
OCTAVE = (65536, 62757, 60097, 57549, 55109, 52772, 50535, 48393, 46341, 44376, 42495, 40693, 38968, 37316,
          35734, 34219)  # fmt: skip


def error_of(scores: NDArray[Any], label: int, shift: int) -> NDArray[np.int64]:
    """63 · (onehot − softmax) of integer scores `[n_out]`, by a table and a division, rounded down."""
    scores = np.asarray(scores, np.int64)
    below = np.minimum((scores.max() - scores) >> shift, 16 * 17)
    weight = np.asarray(OCTAVE, np.int64)[below & 15] >> (below >> 4)
    error = -(ERROR_MAX * weight // weight.sum())
    error[label] += ERROR_MAX
    return error


class Feedback:
    """FDFA on the host: B follows the readout's weights through random probes and is written back.

    Probes v are Rademacher; the estimate is the mean of v·(W v)ᵀ, B ← (1 − a) B + a·estimate, in the units of
    the weights.
    """

    def __init__(self, start: ArrayLike, momentum: float, probes: int, seed: int) -> None:
        self.exact = np.asarray(start, float)
        self.momentum, self.probes = momentum, probes
        self.rng = np.random.default_rng(seed)

    def refresh(self, weights: NDArray[Any]) -> NDArray[np.int64]:
        """New feedback `[n_hidden, n_out]`, even integers, from the readout's weights `[n_out, n_hidden]`."""
        probes = self.rng.integers(0, 2, (self.probes, weights.shape[1])) * 2 - 1
        estimate = probes.T @ (probes @ weights.T) / self.probes
        self.exact = (1 - self.momentum) * self.exact + self.momentum * estimate
        return np.clip(2 * np.rint(self.exact / 2), -254, 254).astype(np.int64)
