"""Learning through a quantiser: spikes see weights on a chip's grid, the optimizer keeps float copies.

    W_q = step · clip(round(W / step), −2^(b−1), 2^(b−1) − 1),   step = c_b · std(W)

The gradient passes straight through (Bengio et al. 2013). c_b is the step of least squared error for normally
distributed weights (Max 1960, for this grid with zero; 1 bit has the levels −1, 0, 1, a connection per sign).
The step follows the weights, so nothing has to be calibrated while they learn; it goes with them to the chip,
whose integers are then exactly those that were trained.
"""

from dataclasses import dataclass

from torch import Tensor

from neurofdfa.errors import UserError

GAUSSIAN_STEP = {1: 1.2240, 2: 1.0484, 3: 0.6018, 4: 0.3386, 5: 0.1888, 6: 0.1042, 7: 0.0569, 8: 0.0308}


@dataclass(frozen=True)
class WeightQuantizer:
    """bits: 1..8 per weight; raises `UserError` otherwise."""

    bits: int

    def __post_init__(self) -> None:
        if self.bits not in GAUSSIAN_STEP:
            raise UserError(f"weight bits must be 1 to 8, got {self.bits}")

    @property
    def levels(self) -> tuple[int, int]:
        """Smallest and largest integer."""
        return (-1, 1) if self.bits == 1 else (-(1 << (self.bits - 1)), (1 << (self.bits - 1)) - 1)

    def step(self, weight: Tensor) -> float:
        """Float weight that one integer stands for."""
        return max(GAUSSIAN_STEP[self.bits] * float(weight.detach().std()), 1e-12)

    def round(self, weight: Tensor) -> Tensor:
        """The nearest weights on the grid, any shape."""
        step = self.step(weight)
        return (weight / step).round().clamp(*self.levels) * step
