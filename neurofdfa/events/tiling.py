"""Where the neurons of a convolution stand in the engine, and its weights: see `kernels.convolution`."""

from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neurofdfa.events import fields as f
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
        self, place: Any, below: "Tiling | None", width: int, slots: int, rows: int, size: int
    ) -> tuple[Ints, NDArray[np.int32]]:
        """A record for the kernels, and what it points at. place: reserves memory, see `tables`; width: of
        the layer below; rows: of values of the view; size: bytes of a number, 0 where nothing is learnt.
        """
        record, seen = np.zeros(f.IMAGE_FIELDS, np.int64), self.view_of(below, width)
        self._write(record)
        record[f.PLACES], record[f.LISTED] = seen.ctypes.data, width * f.CAPACITY + 64
        place(record, f.SEEN_EVENTS, slots * int(record[f.LISTED]) * 4)
        place(record, f.SEEN_STARTS, slots * f.CAPACITY * (int(record[f.POSITIONS]) + 2) * 4)
        if size:
            place(record, f.SEEN_LISTS, slots * int(record[f.LISTED]))
            place(record, f.SEEN_BEGINS, slots * (int(record[f.VIEW]) + 2) * 4)
            place(record, f.SEEN_VALUES, rows * int(record[f.VIEW]) * size)
        return record, seen

    def _write(self, record: Ints) -> None:
        """What the kernels need to know of the geometry."""
        channels, rows, columns = self.view
        stride = self.synapse.stride
        record[f.VIEW], record[f.POSITIONS] = channels * rows * columns, rows * columns
        record[f.VIEW_ROWS], record[f.VIEW_COLUMNS], record[f.VIEW_CHANNELS] = rows, columns, channels
        record[f.TILES], record[f.BLOCKS], record[f.PADDING] = (
            self.tiles[1],
            self.blocks,
            self.synapse.padding,
        )
        record[f.DOWN], record[f.RIGHT] = self.tile[0] * stride, self.tile[1] * stride
        record[f.WINDOW_ROWS], record[f.WINDOW_COLUMNS] = self.window

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
