"""Tensors as the kernels want them: panel after panel, every row of a panel on whole cache lines.

A panel holds 64 neurons (the last ones 16), row after row, so that what a loop touches lies together: rows
of a wide matrix are a power of two apart, and all of one panel would fight for the same cache sets.
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from neurofdfa.events.kernels.update import collect
from neurofdfa.events.memory import Arena, Bytes, aligned
from neurofdfa.events.tables import padded
from neurofdfa.nn.quantizer import WeightQuantizer


class Form(NamedTuple):
    """Rows, row length, and panels of 64 before those of 16, of a matrix in panels."""

    rows: int
    n: int
    wide: int

    @property
    def numbers(self) -> int:
        """Room that it takes."""
        return self.rows * padded(self.n)

    def panels(self, flat: Tensor) -> Iterator[tuple[int, int, Tensor]]:
        """First column, columns in use and the rows of every panel, as views of `[numbers]`."""
        first = 0
        while first < self.n:
            lanes = 64 if first < 64 * self.wide else 16
            part = flat[first * self.rows : (first + lanes) * self.rows].view(self.rows, lanes)
            yield first, min(lanes, self.n - first), part
            first += lanes


def form(tensor: Tensor, *, transposed: bool, narrow: bool) -> Form:
    """transposed: rows are the tensor's columns (weights `[n_out, n_in]`); narrow: panels of 16 only."""
    shape = tuple(tensor.shape) if tensor.dim() == 2 else (1, tensor.numel())
    rows, n = (shape[1], shape[0]) if transposed else shape
    return Form(rows, n, 0 if narrow else padded(n) // 64)


class Spread(Protocol):
    """How the kernels' copy differs from one in panels, see `engine.spread`; numbers: room that it takes."""

    numbers: int

    def write(self, copy: Tensor, inner: Tensor) -> None:
        """From panels to the kernels' copy."""
        ...

    def read(self, inner: Tensor, total: Tensor) -> None:
        """Add the kernels' gradient to one in panels."""
        ...


class Learnt(NamedTuple):
    """A tensor with a gradient. transposed: rows are its columns; narrow: all panels have 16 neurons."""

    tensor: Tensor
    transposed: bool
    narrow: bool
    spread: Spread | None = None


def numbers(block: Bytes, like: Tensor) -> Tensor:
    """Bytes as numbers in the precision of a tensor."""
    kind: Any = np.float32 if like.element_size() == 4 else np.float64
    return torch.from_numpy(block.view(kind))  # pyright: ignore[reportUnknownMemberType]


class Packed:
    """A copy of a tensor in panels. It follows every change that the tensor's version counter shows.

    grid: rounds what the spikes see. `refreshed` says that a kernel has written tensor and copy alike.
    spread: the kernels have a copy of this copy.
    """

    def __init__(
        self,
        tensor: Tensor,
        *,
        transposed: bool,
        narrow: bool = False,
        grid: WeightQuantizer | None = None,
        spread: Spread | None = None,
    ) -> None:
        self.tensor, self.transposed, self.grid = tensor, transposed, grid
        self.form = form(tensor, transposed=transposed, narrow=narrow)
        self.copy = numbers(aligned(self.form.numbers * tensor.element_size()), tensor)
        self.spread, self.inner = spread, self.copy
        if spread is not None:
            self.inner = numbers(aligned(spread.numbers * tensor.element_size()), tensor)
        self.seen: tuple[int, int] | None = None

    def version(self) -> tuple[int, int]:
        """Changes whenever the tensor does."""
        return (self.tensor._version, self.tensor.data_ptr())  # pyright: ignore[reportPrivateUsage]

    @property
    def address(self) -> int:
        """Of what the kernels read, brought up to date."""
        self.refresh()
        return self.inner.data_ptr()

    def refresh(self) -> None:
        """Copy the tensor if it has changed."""
        if self.version() == self.seen:
            return
        tensor = self.tensor.detach()
        if self.grid is not None:
            tensor = self.grid.round(tensor)
        rows = tensor.view(1, -1) if tensor.dim() != 2 else tensor.t() if self.transposed else tensor
        for first, used, part in self.form.panels(self.copy):
            part[:, :used] = rows[:, first : first + used]
        self.refreshed()

    def refreshed(self) -> None:
        """Take the copy for up to date."""
        self.seen = self.version()
        if self.spread is not None:
            self.spread.write(self.copy, self.inner)


class Gradients:
    """One block of gradients per worker, all laid out alike; worker 0's block is where they are summed."""

    def __init__(self, tensors: list[Learnt], workers: int) -> None:
        layout = Arena()
        self.of: dict[int, tuple[int, Form, bool]] = {}
        self.inner: dict[int, tuple[int, Learnt]] = {}
        """Those that kernels lay out otherwise, by tensor: where that gradient begins."""
        for learnt in tensors:
            tensor, size = learnt.tensor, learnt.tensor.element_size()
            shape = form(tensor, transposed=learnt.transposed, narrow=learnt.narrow)
            self.of[id(tensor)] = (layout.reserve(shape.numbers * size), shape, learnt.transposed)
            if learnt.spread is not None:
                self.inner[id(tensor)] = (layout.reserve(learnt.spread.numbers * size), learnt)
        self.size = -(-layout.size // 128) * 128
        self.blocks = [aligned(max(self.size, 128)) for _ in range(workers)]
        self.all = numbers(self.blocks[0], tensors[0].tensor if tensors else torch.empty(0))

    def address(self, tensor: Tensor, worker: int) -> int:
        """Of what the kernels add to in one worker's block, 0 for a tensor that does not learn."""
        if id(tensor) not in self.of:
            return 0
        place = self.inner if id(tensor) in self.inner else self.of
        return int(self.blocks[worker].ctypes.data) + place[id(tensor)][0]

    def flat(self, tensor: Tensor) -> Tensor:
        """The summed gradient in panels, a view."""
        offset, shape, _ = self.of[id(tensor)]
        return self._part(offset, shape.numbers, tensor)

    def _part(self, offset: int, count: int, like: Tensor) -> Tensor:
        return numbers(self.blocks[0][offset : offset + count * like.element_size()], like)

    def settle(self) -> None:
        """Put what kernels lay out otherwise into panels, once it is summed."""
        for offset, learnt in self.inner.values():
            assert learnt.spread is not None
            inner = self._part(offset, learnt.spread.numbers, learnt.tensor)
            learnt.spread.read(inner, self.flat(learnt.tensor))
            inner.zero_()

    def finite(self) -> bool:
        """Whether the sum over all gradients, once they are summed in worker 0's block, is finite."""
        return math.isfinite(float(self.all.sum()))

    def take(self, tensor: Tensor) -> Tensor:
        """A copy of the summed gradient, shaped and laid out like the tensor."""
        _, shape, transposed = self.of[id(tensor)]
        result = torch.empty_like(tensor, memory_format=torch.preserve_format)
        rows = result.view(1, -1) if tensor.dim() != 2 else result.t() if transposed else result
        for first, used, part in shape.panels(self.flat(tensor)):
            rows[:, first : first + used] = part[:, :used]
        return result

    def clear(self) -> None:
        """Set everything to zero."""
        for block in self.blocks:
            block.fill(0)

    def collect(self, workers: int, one: Any, share: int = 0, shares: int = 1) -> None:
        """Sum the workers' blocks into the first one and clear the others; a share of so many equal ones."""
        lines = self.size // 128
        begin, end = (128 * (lines * k // shares) for k in (share, share + 1))
        for block in self.blocks[1:workers]:
            collect(one, int(self.blocks[0].ctypes.data), int(block.ctypes.data), begin, end)


def copy_of(found: Learnt, grid: WeightQuantizer | None = None) -> Packed:
    """The kernels' copy of a tensor that learns."""
    tensor, transposed, narrow, spread = found
    return Packed(tensor, transposed=transposed, narrow=narrow, grid=grid, spread=spread)
