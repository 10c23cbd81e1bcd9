"""Images of neurons and their sums: pooling in front of a synapse.

The neurons of an image are kept flat, channel by channel and row by row: neuron (c, y, x) of a shape
(C, H, W) has the index (c · H + y) · W + x.
"""

from dataclasses import dataclass
from math import prod
from typing import TypeAlias

from torch import Tensor

from neurofdfa.errors import UserError

Shape: TypeAlias = tuple[int, int, int]
"""Channels, rows, columns."""


@dataclass(frozen=True)
class SumPool:
    """The sum of the spikes in each square window, windows side by side: a linear map without weights.

    shape: of the incoming spikes; window: rows and columns that one sum covers. An average is the same with
    smaller weights behind it. Raises `UserError` where windows do not cover the image exactly.
    """

    shape: Shape
    window: int

    def __post_init__(self) -> None:
        rows, columns = self.shape[1:]
        if self.window < 1 or rows % self.window or columns % self.window:
            raise UserError(
                f"a pool of {self.window} x {self.window} does not tile an image of {rows} x {columns}: "
                "choose a divisor of both"
            )

    @property
    def pooled(self) -> Shape:
        """Shape of the sums."""
        channels, rows, columns = self.shape
        return channels, rows // self.window, columns // self.window

    @property
    def n_in(self) -> int:
        """Number of incoming spikes."""
        return prod(self.shape)

    @property
    def n_out(self) -> int:
        """Number of sums."""
        return prod(self.pooled)

    def __call__(self, pre: Tensor) -> Tensor:
        """`[B, n_in]` → `[B, n_out]`."""
        channels, rows, columns = self.pooled
        windows = pre.reshape(len(pre), channels, rows, self.window, columns, self.window)
        return windows.sum((3, 5)).flatten(1)

    def transpose(self, pooled: Tensor) -> Tensor:
        """The transposed map: each sum to all that it was made of, `[B, n_out]` → `[B, n_in]`."""
        channels, rows, columns = self.pooled
        sums = pooled.reshape(len(pooled), channels, rows, 1, columns, 1)
        return sums.expand(-1, -1, -1, self.window, -1, self.window).reshape(len(pooled), self.n_in)
