"""Lay out a network, a rule and a batch shape for the kernels: memory, tables of addresses, constants."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from neurofdfa.events import fields as f
from neurofdfa.events.batch_shape import Shape, cut
from neurofdfa.events.memory import Arena
from neurofdfa.events.tiling import tilings
from neurofdfa.nn.layer import SpikingLayer
from neurofdfa.nn.network import Network

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Place(Protocol):
    """Reserve bytes and remember which table entry gets their address."""

    def __call__(self, where: Ints, column: int, amount: int) -> None:
        """Reserve `amount` bytes for `where[column]`."""
        ...


def numbers_at(arena: Arena, address: int, shape: tuple[int, ...], kind: Any = np.float64) -> NDArray[Any]:
    """Memory of an arena as an array."""
    assert arena.block is not None
    begin = address - int(arena.block.ctypes.data)
    dtype = np.dtype(kind)
    return arena.block[begin : begin + dtype.itemsize * math.prod(shape)].view(dtype).reshape(shape)


class Frame(NamedTuple):
    """One thread's tables; `arena` keeps their memory alive. groups: first and last group of the thread.

    flags: counters of the kernels, see `fields.FLAGS`. loss: mean over the batch, `[1]`. images: numbers of
    convolutions that the tables point at.
    """

    arena: Arena
    head: Ints
    table: Ints
    floats: Floats
    fired: int
    groups: tuple[int, int]
    size: int
    flags: Ints
    loss: Floats
    images: tuple[Any, ...]

    def numbers(self, address: int, shape: tuple[int, ...], kind: Any = np.float64) -> NDArray[Any]:
        """Memory of the arena as an array."""
        return numbers_at(self.arena, address, shape, kind)

    def step_counts(self, layer: int) -> NDArray[np.int32]:
        """Spikes over this worker's samples, `[step of the chunk, WIDTH]`."""
        row = self.table[layer]
        return self.numbers(int(row[f.STEP_COUNTS]), (f.CAPACITY, int(row[f.WIDTH])), np.int32)

    def extra(self, layer: int) -> NDArray[Any]:
        """What is added to the learning signal, `[step of the chunk, WIDTH]`."""
        row = self.table[layer]
        kind = np.float64 if self.size == 8 else np.float32
        return self.numbers(int(row[f.EXTRA]), (f.CAPACITY, int(row[f.WIDTH])), kind)


def padded(n: int) -> int:
    """Neurons in whole vectors of 16."""
    return -(-n // 16) * 16


def panels(n: int) -> tuple[int, int]:
    """Panels of 64 and panels in all (the rest has 16 each)."""
    wide, rest = divmod(padded(n), 64)
    return wide, wide + rest // 16


def build(network: Network, shape: Shape, worker: int, chunk: int | None) -> Frame:
    """The tables of one thread. Addresses of tensors (weights, input, target) are filled in later."""
    layers, k = network.hidden, network.n_out
    count, kpad, tiled = len(layers), padded(network.n_out), tilings(network.hidden)
    population = network.readout.population
    top = count if population is None else count + 1
    inner = [padded(x.n) if t is None else t.width for x, t in zip(layers, tiled, strict=True)]
    widths = [padded(network.n_in), *inner, kpad]
    between = zip((*tiled, None), pairwise(widths), strict=True)
    dense = [pair for tiling, pair in between if tiling is None]
    steps, samples, slots, ends = cut(shape, chunk, widths, dense)
    mine = (ends[worker], ends[worker + 1])
    size, chunks = shape.size, -(-shape.steps // steps)
    rows = f.CAPACITY + 1
    head = np.zeros(f.GLOBAL_FIELDS, np.int64)
    head[f.TOP] = top
    table = np.zeros((count + 2, f.LAYER_FIELDS), np.int64)
    arena = Arena()
    images: list[Any] = []
    fixups: list[tuple[Ints, int, int]] = []

    def place(where: Ints, column: int, amount: int) -> None:
        fixups.append((where, column, arena.reserve(amount)))

    for index in range(count + 2):
        row = table[index]
        row[f.N] = network.n_in if index == 0 else k if index == count + 1 else layers[index - 1].n
        if 0 < index <= count and tiled[index - 1] is not None:
            row[f.N] = widths[index]
        row[f.WIDTH] = widths[index]
        row[f.WIDE], row[f.PANELS] = (0, kpad // 16) if index > count else panels(int(row[f.N]))
        if index <= top:
            place(row, f.EVENTS, slots * (widths[index] * f.CAPACITY + 64) * 4)
            place(row, f.STARTS, slots * (f.CAPACITY + 1) * 4)
            if shape.learn:
                place(row, f.LISTS, slots * widths[index] * f.CAPACITY)
                place(row, f.TALLY, slots * (f.TALLY_ROOM + 2 * widths[index]) * 4)
    for index, layer in enumerate(layers, 1):
        _place_layer(place, table[index], layer, shape, slots, widths, index)
        tiling = tiled[index - 1]
        if tiling is not None:
            below = tiled[index - 2] if index > 1 else None
            room = (slots, max(rows, 3 * samples), size if shape.learn else 0)
            images.append(tiling.lay_out(place, below, widths[index - 1], *room))
            table[index, f.IMAGE] = images[-1][0].ctypes.data
        if layer.recurrent is not None:
            place(table[index], f.OWN_LISTS, slots * widths[index] * f.CAPACITY)
            place(table[index], f.OWN_TALLY, slots * (f.TALLY_ROOM + 2 * widths[index]) * 4)
    if population is not None:
        _place_population(place, table[-1], shape, slots, rows)
    place(head, f.PANEL, rows * 64 * size)
    place(head, f.ZEROS, 64 * size)
    if any(layer.recurrent is not None for layer in layers):
        place(head, f.RECURRENT_DRIVE, max(widths[1:-1]) * rows * size)
    for column in (f.ERRORS, f.FILTERED_ERRORS):
        place(head, column, slots * f.CAPACITY * kpad * size)
    head[f.TELLS] = {"target": 1, "delta": 2}.get(shape.feedback, 0)
    if head[f.TELLS]:
        place(head, f.HEARD, slots * f.CAPACITY * kpad * size)
    for column in (f.OUTPUT, f.FILTERED, f.OBSERVED, f.WEIGHTED):
        place(head, column, rows * kpad * size)
    place(head, f.CARRY, samples * 4 * 64 * size)
    place(head, f.FLAGS, 8 * 66)
    place(head, f.LOSS_SUM, 8)
    place(head, f.RELEVANCE, kpad * 8)
    place(head, f.SEEN, kpad * 8)
    place(head, f.RESPONSES, (count + 2) * 3 * f.CAPACITY * 8)
    place(head, f.TRANSITIONS, (count + 2) * 9 * 8)
    place(head, f.ONES, (count + 2) * chunks * 24)
    place(head, f.PROBE_WEIGHTS, count * shape.steps * 8 if shape.probed else 8)
    place(head, f.NOISE_DECAYS, count * 16 * 8)
    if shape.probed:
        for column in (f.TANGENT_A, f.TANGENT_B, f.NOISE):
            place(head, column, max(widths[1:-1]) * rows * size)
        for index in range(1, count + 1):
            place(table[index], f.PROBE, widths[index] * rows * size)
    head[f.FIRED_PITCH] = 8 * int(table[:, f.PANELS].max())
    fired = arena.reserve(slots * top * samples * int(head[f.FIRED_PITCH]) if shape.probed else 8)
    zeroed = arena.size
    _place_states(place, head, table, layers, shape, slots * samples, widths, chunks)
    head[f.ZEROED_BYTES] = arena.size - zeroed
    fixups.append((head, f.ZEROED, zeroed))
    start = arena.allocate()
    for where, column, offset in fixups:
        where[column] = start + offset
    head[f.HEARD] = head[f.HEARD] or head[f.ERRORS]
    head[f.LAYERS], head[f.STEPS], head[f.CHUNK], head[f.BATCH] = count, shape.steps, steps, shape.batch
    head[f.SAMPLES], head[f.SLOTS], head[f.CHUNKS] = samples, slots, chunks
    head[f.OUTPUTS], head[f.KPAD], head[f.PROBED] = k, kpad, shape.probed
    head[f.LEARN], head[f.DKP] = shape.learn, shape.feedback == "dkp"
    flags = numbers_at(arena, int(head[f.FLAGS]), (66,), np.int64)
    loss = numbers_at(arena, int(head[f.LOSS_SUM]), (1,))
    floats = np.zeros((count + 2, f.FLOAT_FIELDS))
    frame = Frame(arena, head, table, floats, start + fired, mine, size, flags, loss, tuple(images))
    kind = np.float32 if size == 4 else np.float64
    for index in range(1, top + 1):
        frame.numbers(int(table[index, f.ONES_ROW]), (widths[index],), kind).fill(1)
    table[-1, f.GAIN] = table[-1, f.ONES_ROW]
    return frame


def _place_layer(
    place: Place, row: Ints, layer: SpikingLayer, shape: Shape, slots: int, widths: Sequence[int], index: int
) -> None:
    width, size = widths[index], shape.size
    place(row, f.SPIKES, slots * int(row[f.PANELS]) * f.CAPACITY * 8 + 64)
    if shape.learn and shape.feedback != "none":
        place(row, f.PSI, slots * width * f.CAPACITY * size)
    if shape.probed:
        row[f.STAGES] = shape.stages[index - 1]
    place(row, f.EXTRA, f.CAPACITY * width * size if shape.rated else width * size)
    if shape.rated:
        row[f.EXTRA_PITCH] = width * size
        place(row, f.STEP_COUNTS, f.CAPACITY * width * 4)
    place(row, f.ONES_ROW, width * size)


def _place_population(place: Place, row: Ints, shape: Shape, slots: int, rows: int) -> None:
    """A spiking readout is one layer more, that nobody regulates or probes."""
    width, size = int(row[f.WIDTH]), shape.size
    place(row, f.SPIKES, slots * int(row[f.PANELS]) * f.CAPACITY * 8 + 64)
    if shape.learn:
        place(row, f.PSI, slots * width * f.CAPACITY * size)
    if shape.probed:
        place(row, f.PROBE, rows * width * size)
    place(row, f.EXTRA, width * size)
    place(row, f.ONES_ROW, width * size)


def _place_states(
    place: Place,
    head: Ints,
    table: Ints,
    layers: Sequence[SpikingLayer],
    shape: Shape,
    places: int,
    widths: Sequence[int],
    chunks: int,
) -> None:
    size, kpad, count = shape.size, widths[-1], len(layers)
    place(head, f.OUTPUT_STATE, places * kpad * size)
    if shape.probed:
        place(head, f.TANGENT_OUTPUT_STATE, places * kpad * size)
    carried = shape.learn and chunks > 1
    spiking = int(head[f.TOP]) > count
    if spiking:
        _place_neurons(place, table[-1], shape, places, kpad)
        if carried:
            place(table[-1], f.TRACES, places * 3 * widths[-2] * size)
    for index, layer in enumerate(layers, 1):
        row, width = table[index], widths[index]
        _place_neurons(place, row, shape, places, width)
        if carried and shape.feedback != "none":
            place(row, f.TRACES, places * 3 * widths[index - 1] * size)
            if layer.recurrent is not None:
                place(row, f.OWN_TRACES, places * 4 * width * size)
        if carried and ((index == count and not spiking) or shape.feedback == "dkp"):
            place(row, f.PLAIN_TRACES, places * width * size)
        if shape.probed:
            place(row, f.NOISE_STATE, max(1, shape.stages[index - 1]) * places * width * size)


def _place_neurons(place: Place, row: Ints, shape: Shape, places: int, width: int) -> None:
    place(row, f.STATE, places * width * 2 * shape.size)
    place(row, f.FIRED, places * int(row[f.PANELS]) * 8)
    if shape.probed:
        place(row, f.TANGENT_STATE, places * width * 2 * shape.size)
        place(row, f.TANGENT_SENT, places * width * shape.size)
