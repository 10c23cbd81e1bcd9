"""Images of neurons and their sums: pooling in front of a synapse.

The neurons of an image are kept flat, channel by channel and row by row: neuron (c, y, x) of a shape
(C, H, W) has the index (c · H + y) · W + x.
"""

from dataclasses import dataclass
from math import prod
from typing import TypeAlias

from torch import Tensor, nn

from neurofdfa.errors import UserError

Shape: TypeAlias = tuple[int, int, int]
"""Channels, rows, columns."""


@dataclass(frozen=True)
class SumPool:
    """The sum of the spikes in each square window, windows side by side: a linear map without weights.

    shape: of the incoming spikes; window: rows and columns that one sum covers; gain: factor on the sums, for
    averages. Raises `UserError` where windows do not cover the image exactly.
    """

    shape: Shape
    window: int
    gain: float = 1.0

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
        sums = windows.sum((3, 5)).flatten(1)
        return sums if self.gain == 1.0 else sums * self.gain

    def transpose(self, pooled: Tensor) -> Tensor:
        """The transposed map: each sum to all that it was made of, `[B, n_out]` → `[B, n_in]`."""
        channels, rows, columns = self.pooled
        sums = pooled if self.gain == 1.0 else pooled * self.gain
        sums = sums.reshape(len(pooled), channels, rows, 1, columns, 1)
        return sums.expand(-1, -1, -1, self.window, -1, self.window).reshape(len(pooled), self.n_in)


class SumPool2d(nn.Module):
    """The sum of the spikes in each square window, windows side by side, in front of the next synapses.

    kernel_size: rows and columns of a window; both must be divisors of the image's.
    """

    gain_per_window = False

    def __init__(self, kernel_size: int) -> None:
        super().__init__()
        if kernel_size < 1:
            raise UserError(f"a window has 1 row or more, got kernel_size {kernel_size}")
        self.kernel_size = kernel_size

    def on(self, shape: Shape, below: SumPool | None = None) -> SumPool:
        """The pool of an image, or of the sums of another; raises `UserError` where it does not tile it."""
        window = self.kernel_size
        gain = 1.0 / window**2 if self.gain_per_window else 1.0
        if below is None:
            return SumPool(shape, window, gain)
        return SumPool(below.shape, below.window * window, below.gain * gain)

    def forward(self, x: Tensor, state: None = None) -> tuple[Tensor, None]:
        """`[B, C, H, W]` → `[B, C, H / k, W / k]`; there is no state."""
        if x.dim() != 4:
            raise UserError(f"{self} takes images, [B, channels, rows, columns], got {list(x.shape)}")
        pool = self.on((x.shape[1], x.shape[2], x.shape[3]))
        return pool(x.flatten(1)).reshape(len(x), *pool.pooled), None

    def extra_repr(self) -> str:
        """The window."""
        return str(self.kernel_size)


class AvgPool2d(SumPool2d):
    """The mean of the spikes in each square window; see `SumPool2d`, which the event engine can run."""

    gain_per_window = True


class Flatten(nn.Module):
    """An image of neurons as a row of them, channel by channel and row by row, in front of a `Linear`."""

    def forward(self, x: Tensor, state: None = None) -> tuple[Tensor, None]:
        """`[B, C, H, W]` → `[B, C · H · W]`; there is no state."""
        return x.flatten(1), None
