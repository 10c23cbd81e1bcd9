"""Where the neurons of a convolution stand in the engine, and its weights: see `kernels.convolution`."""

from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neurofdfa.events.records import CAPACITY, Layer
from neurofdfa.nn.layer import SpikingLayer
from neurofdfa.nn.synapse import Convolution, Synapse

LANES = 64
"""Neurons of a panel."""

PANEL_COST = 64
"""PreparedBatch on a panel's membranes, in weights that it hears."""

Ints = NDArray[np.int64]


class Tiling:
    """Cuts the image of a `Convolution` into tiles of positions × channels, a panel each (or several).

    width: neurons with those that fill up panels; window: rows and columns of the view that a tile hears.
    """

    def __init__(self, synapse: Convolution) -> None:
        self.image, self.view, self.synapse = synapse.image, synapse.shape, synapse
        self.kernel = (synapse.weight.shape[2], synapse.weight.shape[3])
        channels, rows, columns = self.image
        self.blocks = -(-channels // LANES)
        room = max(1, LANES // channels)
        shapes = [(k, room // k) for k in range(1, min(room, rows) + 1)]
        self.tile = min(((a, min(b, columns)) for a, b in shapes), key=self._cost)
        self.tiles = (-(-rows // self.tile[0]), -(-columns // self.tile[1]))
        self.window = self._window(self.tile)
        self.width = LANES * self.blocks * self.tiles[0] * self.tiles[1]

    def _window(self, tile: tuple[int, int]) -> tuple[int, int]:
        stride = self.synapse.stride
        return (tile[0] - 1) * stride + self.kernel[0], (tile[1] - 1) * stride + self.kernel[1]

    def _cost(self, tile: tuple[int, int]) -> int:
        (tall, wide), (_, rows, columns) = self._window(tile), self.image
        return -(-rows // tile[0]) * -(-columns // tile[1]) * (tall * wide * self.view[0] + PANEL_COST)

    @cached_property
    def places(self) -> Ints:
        """Where each neuron of the image stands among `width`."""
        c, y, x = np.indices(self.image)
        tile = (y // self.tile[0]) * self.tiles[1] + x // self.tile[1]
        site = (y % self.tile[0]) * self.tile[1] + x % self.tile[1]
        lane = site * min(self.image[0], LANES) + c % LANES
        return ((tile * self.blocks + c // LANES) * LANES + lane).reshape(-1)

    def view_of(self, below: "Tiling | None", width: int) -> NDArray[np.int32]:
        """Per neuron below (of `width`) the neuron of the view that it is, and its position, `[width, 2]`."""
        pool, (channels, _, columns) = self.synapse.pool, self.view
        window = 1 if pool is None else pool.window
        c, y, x = np.indices(self.view if pool is None else pool.shape)
        position = (y // window * columns + x // window).reshape(-1)
        found = np.full((width, 2), -1, np.int32)
        where = np.arange(len(position)) if below is None else below.places
        found[where, 0], found[where, 1] = position * channels + c.reshape(-1), position
        return found

    def lay_out(
        self, record: Layer, place: Any, below: "Tiling | None", width: int, slots: int, rows: int, size: int
    ) -> NDArray[np.int32]:
        """Write what the kernels need to know; returns what it points at. place: reserves memory, see
        `tables`; width: of the layer below; rows: of values of the view; size: bytes of a number, 0 where
        nothing is learnt.
        """
        seen = self.view_of(below, width)
        record.image = 1
        self._write(record)
        record.places, record.listed = seen.ctypes.data, width * CAPACITY + 64
        place(record, "seen_events", slots * record.listed * 4)
        place(record, "seen_starts", slots * CAPACITY * (record.positions + 2) * 4)
        if size:
            place(record, "seen_lists", slots * record.listed)
            place(record, "seen_begins", slots * (record.view_n + 2) * 4)
            place(record, "seen_values", rows * record.view_n * size)
        return seen

    def _write(self, record: Layer) -> None:
        """What the kernels need to know of the geometry."""
        channels, rows, columns = self.view
        stride = self.synapse.stride
        record.view_n, record.positions = channels * rows * columns, rows * columns
        record.view_rows, record.view_columns, record.view_channels = rows, columns, channels
        record.tiles, record.blocks, record.padding = (
            self.tiles[1],
            self.blocks,
            self.synapse.padding,
        )
        record.down, record.right = self.tile[0] * stride, self.tile[1] * stride
        record.window_rows, record.window_columns = self.window

    def spread(self, values: Tensor) -> Tensor:
        """`[…, n]` or `[…, channels]` → `[…, width]`, 0 for neurons that only fill up panels."""
        wide = values.new_zeros(*values.shape[:-1], self.width)
        copies = len(self.places) // values.shape[-1]
        wide[..., torch.as_tensor(self.places)] = values.repeat_interleave(copies, -1)
        return wide

    def gather(self, values: Tensor) -> Tensor:
        """`[…, width]` → `[…, n]`."""
        return values[..., torch.as_tensor(self.places)]

    def look(self, x: Tensor) -> Tensor:
        """Values of the image below, `[T, B, n]`, as the view has them, filled up with 0 to n."""
        steps, batch, n = x.shape
        pool = self.synapse.pool
        flat = x.reshape(steps * batch, n)
        image = (flat if pool is None else pool(flat)).reshape(steps * batch, *self.view)
        seen = torch.zeros_like(flat)
        seen[:, : image[0].numel()] = image.permute(0, 2, 3, 1).flatten(1)
        return seen.reshape(steps, batch, n)


def tiling_of(synapse: Synapse) -> Tiling | None:
    """Of a convolution; None for all-to-all synapses."""
    return Tiling(synapse) if isinstance(synapse, Convolution) else None


def tilings(hidden: tuple[SpikingLayer, ...]) -> list[Tiling | None]:
    """Of every hidden layer."""
    return [tiling_of(layer.synapse) for layer in hidden]


def sources(synapse: Synapse, below: Tiling | None) -> Ints | None:
    """Per row of all-to-all weights the neurons below that are heard through it, or None for one each."""
    pool = synapse.pool
    if below is None and pool is None:
        return None
    n = synapse.n_in
    place: Ints = np.arange(n) if below is None else below.places
    if pool is None:
        return place.reshape(-1, 1)
    c, y, x = np.indices(pool.shape)
    _, rows, columns = pool.pooled
    summed = ((c * rows + y // pool.window) * columns + x // pool.window).reshape(-1)
    return place[np.argsort(summed, kind="stable")].reshape(pool.n_out, -1)
