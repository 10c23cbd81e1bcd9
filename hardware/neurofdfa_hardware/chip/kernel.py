"""Convolutions: the few weights that many synapses share, and the dense matrix that they amount to."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pair = tuple[int, int]
Places = NDArray[np.int64]


@dataclass(frozen=True)
class Kernel:
    """A cross-correlation over an image, as NIR and PyTorch mean it; neurons are flattened in C order.

    values: `[channels_out, channels_in / groups, rows, columns]`, float or integer. image: channels, rows and
    columns of the source. stride, padding, dilation: rows, columns.
    """

    values: NDArray[Any]
    image: tuple[int, int, int]
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1

    @property
    def out(self) -> tuple[int, int, int]:
        """Channels, rows and columns of the target; a count below 1 means that the kernel does not fit."""
        rows, columns = (
            (self.image[axis + 1] + 2 * self.padding[axis] - self.dilation[axis] * (size - 1) - 1)
            // self.stride[axis]
            + 1
            for axis, size in enumerate(self.values.shape[2:])
        )
        return self.values.shape[0], rows, columns

    @cached_property
    def _synapses(self) -> tuple[Places, Places, NDArray[np.bool_], tuple[int, ...]]:
        """Target, source and existence of each synapse: `[out, in, k_rows, k_columns, rows, columns]`."""
        channels, inputs = self.values.shape[:2]
        count = self.out[1:]
        row, column = self._under(0)[:, None, :, None], self._under(1)[None, :, None, :]
        first = np.arange(channels, dtype=np.int64) // (channels // self.groups) * inputs
        channel = first[:, None] + np.arange(inputs, dtype=np.int64)
        inside = (row >= 0) & (row < self.image[1]) & (column >= 0) & (column < self.image[2])
        shape = (*self.values.shape, *count)
        source = (channel[:, :, None, None, None, None] * self.image[1] + row) * self.image[2] + column
        target = np.arange(int(np.prod(self.out)), dtype=np.int64).reshape(channels, 1, 1, 1, *count)
        return np.broadcast_to(target, shape), source, np.broadcast_to(inside, shape), shape

    def _under(self, axis: int) -> Places:
        """Source row or column under each kernel position at each place, `[positions, places]`."""
        position = np.arange(self.values.shape[axis + 2], dtype=np.int64)[:, None] * self.dilation[axis]
        place = np.arange(self.out[axis + 1], dtype=np.int64) * self.stride[axis]
        return position + place - self.padding[axis]

    def dense(self) -> NDArray[Any]:
        """The matrix `[n_target, n_source]` of the same synapses."""
        target, source, inside, shape = self._synapses
        matrix = np.zeros((int(np.prod(self.out)), int(np.prod(self.image))), self.values.dtype)
        matrix[target[inside], source[inside]] = np.broadcast_to(self._spread, shape)[inside]
        return matrix

    def is_form_of(self, matrix: NDArray[Any]) -> bool:
        """Whether `matrix` holds exactly these synapses."""
        target, source, inside, shape = self._synapses
        if matrix.shape != (int(np.prod(self.out)), int(np.prod(self.image))):
            return False
        values = np.broadcast_to(self._spread, shape)[inside]
        same = bool(np.all(matrix[target[inside], source[inside]] == values))
        return same and np.count_nonzero(matrix) == np.count_nonzero(values)

    @property
    def _spread(self) -> NDArray[Any]:
        return self.values[..., None, None]

    def per_channel(self, factor: NDArray[Any]) -> NDArray[Any] | None:
        """`factor` `[n_target]` as one number per channel; None when it differs within one."""
        rows = factor.reshape(len(self.values), -1)
        return rows[:, 0] if np.all(rows == rows[:, :1]) else None

    def scaled(self, factor: NDArray[Any]) -> "Kernel | None":
        """With every target neuron's weights times its factor `[n_target]`; None when that shares nothing."""
        channel = self.per_channel(factor)
        return None if channel is None else replace(self, values=self.values * channel[:, None, None, None])

    def times(self, factor: float) -> "Kernel":
        """With all weights times `factor`."""
        return replace(self, values=self.values * factor)

    def behind(self, pool: "Kernel") -> "Kernel | None":
        """This kernel over what `pool` puts out, as one kernel over what `pool` hears.

        pool: blocks side by side, every channel on its own and alike. None when that is no convolution.
        """
        block = pool.values.shape[2:]
        alike = pool.groups == len(pool.values) == pool.image[0] and np.all(pool.values == pool.values[0])
        aside = pool.stride == block and pool.padding == (0, 0) and pool.dilation == (1, 1)
        # Padding puts zeros beside the last whole block; the pool's own image must end there, too.
        cut = any(self.padding) and (pool.image[1] % block[0] or pool.image[2] % block[1])
        if not alike or not aside or self.dilation != (1, 1) or cut:
            return None
        blocks = self.values[:, :, :, None, :, None] * pool.values[0, 0][:, None, :]
        channels, inputs, rows, columns = self.values.shape
        values = blocks.reshape(channels, inputs, rows * block[0], columns * block[1])
        return Kernel(
            values,
            pool.image,
            (self.stride[0] * block[0], self.stride[1] * block[1]),
            (self.padding[0] * block[0], self.padding[1] * block[1]),
            (1, 1),
            self.groups,
        )
