"""Which tensors the kernels have copies and gradients of, and how these lie around convolutions and pools."""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from neurofdfa.events.parameters import Form, Learnt, Spread, form
from neurofdfa.events.tables import padded
from neurofdfa.events.tiling import LANES, Ints, Tiling, sources, tilings
from neurofdfa.nn.network import Network
from neurofdfa.nn.synapse import Synapse


class Rows:
    """A matrix of which each row stands at several places, e.g. weights behind a pool.

    places: of each row, `[rows, copies]`, among `height`. factor: of the sum of their gradients.
    """

    def __init__(self, form: Form, places: Ints, height: int, factor: float = 1.0) -> None:
        self.form, self.inner = form, Form(height, form.n, form.wide)
        self.places, self.factor = torch.from_numpy(np.ascontiguousarray(places)), factor  # pyright: ignore[reportUnknownMemberType]
        self.numbers = self.inner.numbers

    def _parts(self, inner: Tensor, flat: Tensor) -> Any:
        pairs = zip(self.inner.panels(inner), self.form.panels(flat), strict=True)
        return ((there, here) for (*_, there), (*_, here) in pairs)

    def write(self, copy: Tensor, inner: Tensor) -> None:
        """From the matrix to all places."""
        for there, here in self._parts(inner, copy):
            there[self.places] = here.unsqueeze(1)

    def read(self, inner: Tensor, total: Tensor) -> None:
        """Add the sum over the places to a gradient in panels."""
        for there, here in self._parts(inner, total):
            here.add_(there[self.places].sum(1), alpha=self.factor)


class Columns:
    """A matrix of which each column stands at several places, e.g. feedback that positions share.

    places: of each column, `[n, copies]`, among `width`, whole panels. factor: of the sum of their gradients.
    """

    def __init__(self, form: Form, places: Ints, width: int, factor: float = 1.0) -> None:
        self.form, self.width, self.factor = form, width, factor
        filled = np.full((padded(form.n), places.shape[1]), width)  # a place outside for what fills up panels
        filled[: form.n] = places
        self.places = torch.from_numpy(filled)  # pyright: ignore[reportUnknownMemberType]
        self.numbers = form.rows * width

    def _parts(self, flat: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Panels of 64 and those of 16, `[panels, columns, rows]`, with the places of their columns."""
        rows, wide = self.form.rows, LANES * self.form.wide
        for first, last, lanes in ((0, wide, LANES), (wide, len(self.places), 16)):
            if first < last:
                panels = flat[first * rows : last * rows].view(-1, rows, lanes)
                yield self.places[first:last], panels.transpose(1, 2)

    def _inside(self, inner: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        """The kernels' panels and the same columns in order, alike in shape."""
        rows = self.form.rows
        return inner.view(-1, rows, LANES).transpose(1, 2), columns[: self.width].view(-1, LANES, rows)

    def write(self, copy: Tensor, inner: Tensor) -> None:
        """From the matrix to all places."""
        columns = inner.new_zeros(self.width + 1, self.form.rows)
        for places, part in self._parts(copy):
            columns[places] = part.flatten(0, 1).unsqueeze(1)
        panels, ordered = self._inside(inner, columns)
        panels.copy_(ordered)

    def read(self, inner: Tensor, total: Tensor) -> None:
        """Add the sum over the places to a gradient in panels."""
        columns = inner.new_zeros(self.width + 1, self.form.rows)
        panels, ordered = self._inside(inner, columns)
        ordered.copy_(panels)
        for places, part in self._parts(total):
            part.add_(columns[places].sum(1).view(part.shape), alpha=self.factor)


class Kernels:
    """Weights of a convolution, `[channels, below, rows, columns]`, as tiles have them."""

    def __init__(self, tiling: Tiling) -> None:
        self.tiling = tiling
        self.shape = (tiling.blocks, *tiling.window, tiling.view[0], LANES)
        self.numbers = int(np.prod(self.shape))

    def _parts(self, inner: Tensor, weight: Tensor) -> Any:
        """Where each position's weights lie, and the weights, alike in shape."""
        tiling, stride = self.tiling, self.tiling.synapse.stride
        tiles = inner.view(self.shape)
        kernel = self.tiling.synapse.weight
        rows = weight[: kernel.numel()].view(kernel.shape).permute(2, 3, 1, 0)
        channels = tiling.image[0]
        for block in range(tiling.blocks):
            part = rows[..., LANES * block : LANES * (block + 1)]
            for site, (y, x) in enumerate(product(*map(range, tiling.tile))):
                down, right = y * stride, x * stride
                lines = tiles[block, down : down + tiling.kernel[0], right : right + tiling.kernel[1]]
                yield lines[..., site * channels :][..., : part.shape[3]], part

    def write(self, copy: Tensor, inner: Tensor) -> None:
        """From the weights to the tiles."""
        for there, weight in self._parts(inner, copy):
            there.copy_(weight)

    def read(self, inner: Tensor, total: Tensor) -> None:
        """Add the tiles' gradients to that of the weights."""
        for there, gradient in self._parts(inner, total):
            gradient += there


class Parts(NamedTuple):
    """Of every layer and the readout: weights, biases and recurrent weights, None where there are none."""

    weights: list[Learnt]
    biases: list[Learnt | None]
    recurrent: list[Learnt | None]


def parts_of(network: Network) -> Parts:
    """What the kernels compute with."""
    hidden, readout = network.hidden, network.readout.synapse
    tiled = tilings(hidden)
    below = [None, *tiled]
    weights = [_weight(x.synapse, t, b, False) for x, t, b in zip(hidden, tiled, below, strict=False)]
    weights.append(_weight(readout, None, below[-1], True))
    biases = [_bias(x.synapse, t, False) for x, t in zip(hidden, tiled, strict=True)]
    recurrent = [None if x.recurrent is None else Learnt(x.recurrent.weight, True, False) for x in hidden]
    return Parts(weights, [*biases, _bias(readout, None, True)], recurrent)


def _weight(synapse: Synapse, tiling: Tiling | None, below: Tiling | None, narrow: bool) -> Learnt:
    if tiling is not None:
        return Learnt(synapse.weight, False, narrow, Kernels(tiling))
    places, spread = sources(synapse, below), None
    if places is not None:
        height = synapse.n_in if below is None else below.width
        spread = Rows(form(synapse.weight, transposed=True, narrow=narrow), places, height)
    return Learnt(synapse.weight, True, narrow, spread)


def _bias(synapse: Synapse, tiling: Tiling | None, narrow: bool) -> Learnt | None:
    if synapse.bias is None:
        return None
    spread = None
    if tiling is not None:
        places = tiling.places.reshape(synapse.channels, -1)
        spread = Columns(form(synapse.bias, transposed=False, narrow=narrow), places, tiling.width)
    return Learnt(synapse.bias, False, narrow, spread)


def feedback_of(network: Network, matrices: Sequence[Tensor]) -> list[Learnt]:
    """The feedback as the kernels read it, in rows of outputs. Gradients of probed feedback have this form,
    as means of what positions that share a row of B observe: each sees what the probe does to all of them.
    """
    found: list[Learnt] = []
    for b, tiling in zip(matrices, tilings(network.hidden), strict=True):
        spread: Spread | None = None
        if tiling is not None:
            places = tiling.places.reshape(len(b), -1)
            factor = 1.0 / places.shape[1] ** 2
            spread = Columns(form(b, transposed=True, narrow=False), places, tiling.width, factor)
        found.append(Learnt(b, True, False, spread))
    return found


def learnt_by(kind: str, network: Network, matrices: Sequence[Tensor]) -> list[Learnt]:
    """What has gradients. kind: of the feedback, as in `FeedbackBinding`."""
    weights, biases, recurrent = parts_of(network)
    readout = (weights.pop(), biases.pop())
    found: list[Learnt | None] = []
    for parts in zip(weights, biases, recurrent, strict=True) if kind != "none" else ():
        found += parts
    found += readout
    if kind == "probed":
        found += feedback_of(network, matrices)
    if kind == "outer":
        found += [_rows_of(b, t) for b, t in zip(matrices, tilings(network.hidden), strict=True)]
    return [learnt for learnt in found if learnt is not None]


def _rows_of(b: Tensor, tiling: Tiling | None) -> Learnt:
    """Gradient of outer products: a row per neuron, the mean of those that share one."""
    if tiling is None:
        return Learnt(b, False, True)
    places = tiling.places.reshape(len(b), -1)
    spread = Rows(form(b, transposed=False, narrow=True), places, tiling.width, 1.0 / places.shape[1])
    return Learnt(b, False, True, spread)
