"""Lay out a network, a rule and a batch shape for the kernels: memory, tables of addresses, constants."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from neurofdfa.events.batch_shape import Shape, cut
from neurofdfa.events.memory import Arena
from neurofdfa.events.records import CAPACITY, TALLY_ROOM, Head, Layer, Layers, memory_of
from neurofdfa.events.tiling import tilings
from neurofdfa.nn.layer import SpikingLayer
from neurofdfa.nn.network import Network

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


KEPT = {
    "lists", "tally", "own_lists", "own_tally", "spikes", "psi", "membranes", "seen_lists", "seen_begins",
    "errors", "heard",
}  # fmt: skip
"""What a sequence keeps of every chunk until it is learnt, see `kernels.sequence.turn_to`."""


class Place(Protocol):
    """Reserve bytes and remember which field gets their address."""

    def __call__(self, where: Head | Layer, field: str, amount: int) -> None:
        """Reserve `amount` bytes for a field of a record."""
        ...


def numbers_at(arena: Arena, address: int, shape: tuple[int, ...], kind: Any = np.float64) -> NDArray[Any]:
    """Memory of an arena as an array."""
    assert arena.block is not None
    begin = address - int(arena.block.ctypes.data)
    dtype = np.dtype(kind)
    return arena.block[begin : begin + dtype.itemsize * math.prod(shape)].view(dtype).reshape(shape)


class Frame(NamedTuple):
    """One thread's records; `arena` keeps their memory alive. groups: first and last group of the thread.

    records: head and layers as the kernels take them. flags: counters of the kernels, see `Head.counters`.
    loss: mean over the batch, `[1]`. images: numbers of convolutions that the records point at.
    """

    arena: Arena
    head: Head
    layers: Layers
    records: tuple[Any, Any]
    groups: tuple[int, int]
    size: int
    flags: Ints
    loss: Floats
    images: tuple[Any, ...]

    def numbers(self, address: int, shape: tuple[int, ...], kind: Any = np.float64) -> NDArray[Any]:
        """Memory of the arena as an array."""
        return numbers_at(self.arena, address, shape, kind)

    def step_counts(self, layer: int) -> NDArray[np.int32]:
        """Spikes over this worker's samples, `[step, WIDTH]`, of the chunk or, as `extra`, of a sequence that
        is learnt as a whole.
        """
        row = self.layers[layer]
        return self.numbers(row.step_counts, (_regulated(self.head), row.width), np.int32)

    def extra(self, layer: int) -> NDArray[Any]:
        """What is added to the learning signal, `[step, WIDTH]`."""
        row = self.layers[layer]
        return self.row(row.extra, _regulated(self.head) * row.width).reshape(-1, row.width)

    def own_counts(self) -> NDArray[np.float64]:
        """With lengths: spikes and ψ = 0 per step of their own, summed over the samples, `[2, H]`."""
        count = self.head.hidden
        return self.numbers(self.head.own_counts, (3, count + 2))[:2, 1 : count + 1]

    def row(self, address: int, count: int) -> NDArray[Any]:
        """Numbers in the kernels' precision."""
        return self.numbers(address, (count,), np.float64 if self.size == 8 else np.float32)


def _regulated(head: Head) -> int:
    return head.steps if head.backwards or head.pull else CAPACITY


def padded(n: int) -> int:
    """Neurons in whole vectors of 16."""
    return -(-n // 16) * 16


def panels(n: int) -> tuple[int, int]:
    """Panels of 64 and panels in all (the rest has 16 each)."""
    wide, rest = divmod(padded(n), 64)
    return wide, wide + rest // 16


def build(network: Network, shape: Shape, worker: int, chunk: int | None) -> Frame:
    """The records of one thread. Addresses of tensors (weights, input, target) are filled in later."""
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
    rows = CAPACITY + 1
    heads: Any = (Head * 1)()
    records: Any = (Layer * (count + 2))()
    head: Head = heads[0]
    table: list[Layer] = list(records)
    head.top = top
    arena = Arena()
    images: list[Any] = []
    fixups: list[tuple[Head | Layer, str, int]] = []
    kept, later = Arena(), list[tuple[Head | Layer, str, int]]()

    def place(where: Head | Layer, field: str, amount: int) -> None:
        if field in KEPT:
            later.append((where, field, kept.reserve(amount)))
        else:
            fixups.append((where, field, arena.reserve(amount)))

    for index in range(count + 2):
        row = table[index]
        row.index = index
        row.n = network.n_in if index == 0 else k if index == count + 1 else layers[index - 1].n
        if 0 < index <= count and tiled[index - 1] is not None:
            row.n = widths[index]
        row.width = widths[index]
        row.wide, row.panels = (0, kpad // 16) if index > count else panels(row.n)
        if index <= top:
            place(row, "events", slots * (widths[index] * CAPACITY + 64) * 4)
            place(row, "starts", slots * (CAPACITY + 1) * 4)
            if shape.learn:
                place(row, "lists", slots * widths[index] * CAPACITY)
                place(row, "tally", slots * (TALLY_ROOM + 2 * widths[index]) * 4)
    for index, layer in enumerate(layers, 1):
        _place_layer(place, table[index], layer, shape, slots, widths, index)
        tiling = tiled[index - 1]
        if tiling is not None:
            below = tiled[index - 2] if index > 1 else None
            room = (slots, max(rows, 3 * samples), size if shape.learn else 0)
            images.append(tiling.lay_out(table[index], place, below, widths[index - 1], *room))
        if layer.recurrent is not None:
            place(table[index], "own_lists", slots * widths[index] * CAPACITY)
            place(table[index], "own_tally", slots * (TALLY_ROOM + 2 * widths[index]) * 4)
    if population is not None:
        _place_population(place, table[-1], population, shape, slots, rows)
    place(head, "panel", rows * 64 * size)
    place(head, "zeros", 64 * size)
    if any(layer.recurrent is not None for layer in layers):
        place(head, "recurrent_drive", max(widths[1:-1]) * rows * size)
    for field in ("errors", "filtered_errors"):
        place(head, field, slots * CAPACITY * kpad * size)
    head.tells = {"target": 1, "delta": 2}.get(shape.feedback, 0)
    if head.tells:
        place(head, "heard", slots * CAPACITY * kpad * size)
    for field in ("output", "filtered", "observed", "weighted"):
        place(head, field, rows * kpad * size)
    place(head, "carry", samples * 4 * 64 * size)
    if shape.carried:
        place(head, "coefficients", 11 * 64 * size)
        for field in ("ends", "filtered_ends"):
            place(head, field, rows * 64 * size)
    if shape.rated and shape.own:
        place(head, "pull", rows * 64 * size)
    place(head, "counters", 8 * 66)
    place(head, "loss_sum", 8)
    place(head, "own_counts", 8 * 3 * (count + 2))
    place(head, "relevance", kpad * 8)
    place(head, "seen", kpad * 8)
    place(head, "responses", (count + 2) * 3 * CAPACITY * 8)
    place(head, "transitions", (count + 2) * 9 * 8)
    place(head, "ones", (count + 2) * chunks * 24)
    place(head, "probe_weights", count * shape.steps * 8 if shape.probed else 8)
    place(head, "noise_decays", count * 16 * 8)
    if shape.probed:
        for field in ("tangent_a", "tangent_b", "noise"):
            place(head, field, max(widths[1:-1]) * rows * size)
        for index in range(1, count + 1):
            place(table[index], "probe", widths[index] * rows * size)
    head.fired_pitch = 8 * max(row.panels for row in table)
    place(head, "fired", slots * top * samples * head.fired_pitch if shape.probed else 8)
    head.kept_pitch = kept.size
    first = arena.reserve(kept.size * (chunks if shape.backwards else 1))
    fixups += [(where, field, first + offset) for where, field, offset in later]
    zeroed = arena.size
    _place_states(place, head, table, layers, population, shape, slots * samples, widths, chunks)
    head.zeroed_bytes = arena.size - zeroed
    fixups.append((head, "zeroed", zeroed))
    start = arena.allocate()
    for where, field, offset in fixups:
        setattr(where, field, start + offset)
    head.heard = head.heard or head.errors
    head.hidden, head.steps, head.chunk, head.batch = count, shape.steps, steps, shape.batch
    head.samples, head.slots, head.chunks = samples, slots, chunks
    head.outputs, head.kpad, head.probed = k, kpad, shape.probed
    head.learn, head.outer = shape.learn, shape.feedback == "outer"
    head.exact, head.backwards = shape.exact, shape.backwards
    flags = numbers_at(arena, head.counters, (66,), np.int64)
    loss = numbers_at(arena, head.loss_sum, (1,))
    memory = (memory_of(heads, Head), memory_of(records, Layer))
    frame = Frame(arena, head, records, memory, mine, size, flags, loss, tuple(images))
    for index in range(1, top + 1):
        frame.row(table[index].ones_row, widths[index]).fill(1)
    table[-1].gain = table[-1].ones_row
    return frame


def _place_layer(
    place: Place, row: Layer, layer: SpikingLayer, shape: Shape, slots: int, widths: Sequence[int], index: int
) -> None:
    width, size = widths[index], shape.size
    place(row, "spikes", slots * row.panels * CAPACITY * 8 + 64)
    if shape.learn and shape.feedback != "none":
        place(row, "psi", slots * width * CAPACITY * size)
    if shape.probed:
        row.stages = shape.stages[index - 1]
    regulated = (shape.steps if shape.backwards or shape.own else CAPACITY) if shape.rated else 1
    place(row, "extra", regulated * width * size)
    if shape.rated:
        row.extra_pitch = width * size
        place(row, "step_counts", regulated * width * 4)
    _place_rows(place, row, layer, shape, slots)


def _place_population(
    place: Place, row: Layer, layer: SpikingLayer, shape: Shape, slots: int, rows: int
) -> None:
    """A spiking readout is one layer more, that nobody regulates or probes."""
    width, size = row.width, shape.size
    place(row, "spikes", slots * row.panels * CAPACITY * 8 + 64)
    if shape.learn:
        place(row, "psi", slots * width * CAPACITY * size)
    if shape.probed:
        place(row, "probe", rows * width * size)
    place(row, "extra", width * size)
    _place_rows(place, row, layer, shape, slots)


def _place_rows(place: Place, row: Layer, layer: SpikingLayer, shape: Shape, slots: int) -> None:
    """Numbers per neuron, and membranes where they are kept."""
    for field in ("ones_row", "alphas", "betas"):
        place(row, field, row.width * shape.size)
    row.general = keeps_membranes(layer)
    if row.general:
        place(row, "membranes", slots * row.width * CAPACITY * shape.size)


def keeps_membranes(layer: SpikingLayer) -> bool:
    """Whether decays differ, thresholds adapt, or the derivative of a reset depends on the membrane."""
    lif = layer.neuron
    return not layer.plain or (lif.reset == "hard" and lif.reset_gradient == "attached")


def _place_states(
    place: Place,
    head: Head,
    table: Sequence[Layer],
    layers: Sequence[SpikingLayer],
    population: SpikingLayer | None,
    shape: Shape,
    places: int,
    widths: Sequence[int],
    chunks: int,
) -> None:
    size, kpad, count = shape.size, widths[-1], len(layers)
    place(head, "output_state", places * kpad * size)
    if shape.probed:
        place(head, "tangent_output_state", places * kpad * size)
    carried = shape.learn and chunks > 1 and not shape.backwards
    spiking = population is not None
    if shape.backwards:
        place(head, "readout_states", places * kpad * size)
    if population is not None:
        _place_neurons(place, table[-1], shape, places, kpad, kpad)
        _place_synapses(place, table[-1], population, shape, places, table[-2].n)
        if carried:
            place(table[-1], "traces", places * 3 * widths[-2] * size)
    for index, layer in enumerate(layers, 1):
        row, width = table[index], widths[index]
        _place_neurons(place, row, shape, places, width, kpad)
        if shape.feedback != "none":
            _place_synapses(place, row, layer, shape, places, table[index - 1].n)
        if carried and shape.feedback != "none":
            place(row, "traces", places * 3 * widths[index - 1] * size)
            if layer.recurrent is not None:
                place(row, "own_traces", places * 4 * width * size)
        if carried and ((index == count and not spiking) or shape.feedback == "outer"):
            place(row, "plain_traces", places * width * size)
        if shape.probed:
            place(row, "noise_state", max(1, shape.stages[index - 1]) * places * width * size)


def _place_neurons(place: Place, row: Layer, shape: Shape, places: int, width: int, kpad: int) -> None:
    place(row, "state", places * width * 3 * shape.size)
    place(row, "fired", places * row.panels * 8)
    if shape.exact:
        place(row, "error_states", places * 3 * kpad * shape.size)
        place(row, "reverse_states", places * width * 3 * shape.size)
    if shape.probed:
        place(row, "tangent_state", places * width * 4 * shape.size)
        place(row, "tangent_sent", places * width * shape.size)


def _place_synapses(
    place: Place, row: Layer, layer: SpikingLayer, shape: Shape, places: int, below: int
) -> None:
    """Traces per synapse and sample, where they are carried. below: neurons of the layer below."""
    if not shape.carried:
        return
    size = places * row.width * shape.size
    place(row, "links", size)
    for field in ("membrane_traces", "filtered_traces"):
        place(row, field, size * below)
    if layer.synapse.bias is not None:
        place(row, "bias_traces", 2 * size)
    for field in ("own_membrane_traces", "own_filtered_traces") if layer.recurrent is not None else ():
        place(row, field, size * row.n)
