"""Convolutions: the few weights that many synapses share, and the dense matrix that they amount to."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pair = tuple[int, int]
Places = NDArray[np.int64]
# Numbers that are gathered at a time: they stay in the cache.
_BLOCK = 2**18


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

    @property
    def shape(self) -> tuple[int, int]:
        """Neurons of the target and of the source: the shape of `dense`."""
        return int(np.prod(self.out)), int(np.prod(self.image))

    def dense(self) -> NDArray[Any]:
        """The matrix `[n_target, n_source]` of the same synapses."""
        target, source, inside, shape = self._synapses
        matrix = np.zeros(self.shape, self.values.dtype)
        matrix[target[inside], source[inside]] = np.broadcast_to(self._spread, shape)[inside]
        return matrix

    def listed(self) -> tuple[Places, Places, NDArray[Any]]:
        """Target, source and weight of every synapse whose weight is not 0."""
        target, source, inside, shape = self._synapses
        kept = inside & (np.broadcast_to(self._spread, shape) != 0)
        return target[kept], source[kept], np.broadcast_to(self._spread, shape)[kept]

    def apply(self, rows: NDArray[Any]) -> NDArray[Any]:
        """`rows @ dense().T` for rows `[N, n_source]` without the matrix: one product per group and block."""
        channels, inputs, *size = self.values.shape
        _, height, width = self.out
        kind = np.result_type(rows.dtype, self.values.dtype)
        values = self.values.astype(kind, copy=False)
        result = np.empty((len(rows), self.shape[0]), kind)
        block = max(1, _BLOCK // (height * width * inputs * size[0] * size[1] * self.groups))
        for first in range(0, len(rows), block):
            windows = self._windows(rows[first : first + block])
            count = len(windows)
            target = result[first : first + block].reshape(count, channels, height, width)
            if inputs == 1 and channels == self.groups:
                target[...] = 0
                for a, b in np.ndindex(*size):
                    target += windows[..., a, b].transpose(0, 3, 1, 2) * values[:, 0, a, b, None, None]
                continue
            share = channels // self.groups
            for group in range(self.groups):
                # Rows of a window lie side by side in memory when the channels come last.
                own = windows[:, :, :, group * inputs : (group + 1) * inputs].transpose(0, 1, 2, 4, 5, 3)
                weight = values[group * share : (group + 1) * share].transpose(0, 2, 3, 1).reshape(share, -1)
                # Gathered in the narrow type that spikes have, and widened in one go.
                sums = own.reshape(count * height * width, -1).astype(kind, copy=False) @ weight.T
                sums = sums.reshape(count, height, width, share).transpose(0, 3, 1, 2)
                target[:, group * share : (group + 1) * share] = sums
        return result

    def pull(self, rows: NDArray[Any]) -> NDArray[Any]:
        """`rows @ dense()` for rows `[N, n_target]`: weights behind this kernel, seen from its source."""
        channels, inputs, *size = self.values.shape
        given = rows.reshape(len(rows), self.groups, channels // self.groups, *self.out[1:])
        values = self.values.reshape(self.groups, channels // self.groups, inputs, *size)
        padded = [n + 2 * pad for n, pad in zip(self.image[1:], self.padding, strict=True)]
        total = np.zeros((len(rows), self.image[0], *padded), np.result_type(rows.dtype, self.values.dtype))
        for a in range(size[0]):
            for b in range(size[1]):
                down, right = a * self.dilation[0], b * self.dilation[1]
                place = (
                    slice(down, down + self.stride[0] * (self.out[1] - 1) + 1, self.stride[0]),
                    slice(right, right + self.stride[1] * (self.out[2] - 1) + 1, self.stride[1]),
                )
                part = np.einsum("ngoyx,goi->ngiyx", given, values[..., a, b])
                total[:, :, place[0], place[1]] += part.reshape(len(rows), -1, *self.out[1:])
        inside = [slice(pad, pad + n) for n, pad in zip(self.image[1:], self.padding, strict=True)]
        return total[:, :, inside[0], inside[1]].reshape(len(rows), -1)

    def _windows(self, rows: NDArray[Any]) -> NDArray[Any]:
        """What each place of the target hears, `[N, rows, columns, channels, k_rows, k_columns]`: a view."""
        images = rows.reshape(len(rows), *self.image).transpose(0, 2, 3, 1)
        border = [(0, 0), *((pad, pad) for pad in self.padding), (0, 0)]
        images = np.pad(images, border) if any(self.padding) else np.ascontiguousarray(images)
        reach = [self.dilation[k] * (self.values.shape[2 + k] - 1) + 1 for k in (0, 1)]
        windows = np.lib.stride_tricks.sliding_window_view(images, reach, axis=(1, 2))
        down, right = self.stride
        return windows[:, ::down, ::right, :, :: self.dilation[0], :: self.dilation[1]]

    def fan_in(self) -> Places:
        """Synapses of every target neuron whose weight is not 0, `[n_target]`."""
        used = (self.values != 0).sum(axis=1)  # [out, k_rows, k_columns]
        rows, columns = ((self._under(k) >= 0) & (self._under(k) < self.image[k + 1]) for k in (0, 1))
        return np.einsum("oab,ay,bx->oyx", used, rows.astype(np.int64), columns.astype(np.int64)).reshape(-1)

    def heard(self, first: int, stop: int) -> NDArray[np.bool_]:
        """Which source neurons the target neurons first … stop − 1 hear, `[n_source]`."""
        seen = np.zeros(self.image, np.bool_)
        channels, inputs = self.values.shape[:2]
        _, height, width = self.out
        under = self._under(0), self._under(1)
        for channel in range(first // (height * width), -(-stop // (height * width))):
            start = channel * height * width
            low, high = max(first - start, 0), min(stop - start, height * width)
            group = channel // (channels // self.groups) * inputs
            for top, bottom, left, right in _boxes(low, high, width):
                for a, b in np.argwhere((self.values[channel] != 0).any(axis=0)):
                    rows, columns = under[0][a, top:bottom], under[1][b, left:right]
                    rows = rows[(rows >= 0) & (rows < self.image[1])]
                    columns = columns[(columns >= 0) & (columns < self.image[2])]
                    source = group + np.flatnonzero(self.values[channel, :, a, b] != 0)
                    seen[np.ix_(source, rows, columns)] = True
        return seen.reshape(-1)

    @property
    def _spread(self) -> NDArray[Any]:
        return self.values[..., None, None]

    @staticmethod
    def diagonal(factor: NDArray[Any]) -> "Kernel":
        """Neurons heard one by one, each times its factor `[n]`."""
        return Kernel(factor.reshape(-1, 1, 1, 1), (factor.size, 1, 1), groups=factor.size)

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


Weights = NDArray[Any] | Kernel


def entries(weights: Weights) -> NDArray[Any]:
    """The numbers that weights are made of, each once: the matrix, or the kernel's values."""
    return weights.values if isinstance(weights, Kernel) else weights


def with_entries(weights: Weights, values: NDArray[Any]) -> Weights:
    """The same synapses with other numbers."""
    return replace(weights, values=values) if isinstance(weights, Kernel) else values


def dense(weights: Weights) -> NDArray[Any]:
    """The matrix `[n_target, n_source]`, made if need be."""
    return weights.dense() if isinstance(weights, Kernel) else weights


def apply(weights: Weights, rows: NDArray[Any]) -> NDArray[Any]:
    """What rows `[N, n_source]` deliver, `[N, n_target]`."""
    return weights.apply(rows) if isinstance(weights, Kernel) else rows @ weights.T


def per_row(weights: Weights, factor: NDArray[Any]) -> NDArray[Any]:
    """`factor` `[n_target]` in a form that multiplies the entries; it must be one number per channel."""
    if not isinstance(weights, Kernel):
        return factor[:, None]
    channel = weights.per_channel(factor)
    assert channel is not None  # neurons that share weights share their unit
    return channel[:, None, None, None]


def heaviest(weights: Weights) -> int:
    """A bound on Σ|w| over the synapses of one neuron, of whole weights."""
    magnitude = np.abs(entries(weights))
    return int(magnitude.reshape(len(magnitude), -1).sum(axis=1).max())


def _boxes(low: int, high: int, width: int) -> list[tuple[int, int, int, int]]:
    """Places low … high − 1 of an image in C order as rectangles: top, bottom, left, right."""
    top, left = divmod(low, width)
    bottom, right = divmod(high, width)
    if top == bottom:
        return [(top, top + 1, left, right)] if right > left else []
    boxes: list[tuple[int, int, int, int]] = []
    if left:
        boxes.append((top, top + 1, left, width))
        top += 1
    if bottom > top:
        boxes.append((top, bottom, 0, width))
    if right:
        boxes.append((bottom, bottom + 1, 0, right))
    return boxes
