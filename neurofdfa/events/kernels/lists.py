"""Spikes by pre-synaptic neuron: sorted, and read back by whoever sums what happened when a neuron fired.

Neurons stand in the order of how many spikes they have. Then the loop over a neuron's spikes runs as often as
it did for the neuron before, and the processor knows when it will end: with five spikes per neuron, guessing
wrong once per neuron cost as much as adding them up.
"""

from neurofdfa.events import simd
from neurofdfa.events.compiled import part
from neurofdfa.events.kernels.layout import events_of, starts_of
from neurofdfa.events.records import CAPACITY, TALLY_ROOM, Layer
from neurofdfa.events.simd.emit import Lanes


@part
def tally_of(layer: Layer, slot: int, tallies: int) -> int:
    """Where a group's tally lies: how many neurons have 0, 1, 2 … spikes."""
    return tallies + slot * (TALLY_ROOM + 2 * layer.width) * 4


@part
def order_of(tally: int) -> int:
    """Where its neurons lie, those with the fewest spikes first."""
    return tally + TALLY_ROOM * 4


@part
def sort_by_neuron(layer: Layer, slot: int, all_lists: int, tallies: int, rows: int) -> None:
    """Turn a layer's events, listed row by row, into lists of rows by neuron: a counting sort of each."""
    n, tally = layer.n, tally_of(layer, slot, tallies)
    events, starts = events_of(layer, slot), starts_of(layer, slot)
    lists = all_lists + slot * layer.width * CAPACITY
    order, third = order_of(tally), TALLY_ROOM // 3 * 4
    ends = order + 4 * layer.width  # per neuron: its spikes, then where the next of them goes
    places, offsets = tally + third, tally + 2 * third  # per count: of the next neuron, and of its spikes
    for c in range(n):
        simd.store_i32(ends + 4 * c, 0)
    for e in range(simd.load_i32(starts + 4 * rows)):
        end = ends + 4 * simd.load_i32(events + 4 * e)
        simd.store_i32(end, simd.load_i32(end) + 1)
    for k in range(CAPACITY + 1):
        simd.store_i32(tally + 4 * k, 0)
    for c in range(n):
        size = tally + 4 * simd.load_i32(ends + 4 * c)
        simd.store_i32(size, simd.load_i32(size) + 1)
    place = offset = 0
    for k in range(CAPACITY + 1):
        simd.store_i32(places + 4 * k, place)
        simd.store_i32(offsets + 4 * k, offset)
        size = simd.load_i32(tally + 4 * k)
        place += size
        offset += k * size
    for c in range(n):
        k = simd.load_i32(ends + 4 * c)
        place, offset = simd.load_i32(places + 4 * k), simd.load_i32(offsets + 4 * k)
        simd.store_i32(order + 4 * place, c)
        simd.store_i32(places + 4 * k, place + 1)
        simd.store_i32(ends + 4 * c, offset)
        simd.store_i32(offsets + 4 * k, offset + k)
    begin = 0
    for row in range(rows):
        stop = simd.load_i32(starts + 4 * (row + 1))
        for e in range(begin, stop):
            end = ends + 4 * simd.load_i32(events + 4 * e)
            place = simd.load_i32(end)
            simd.store_byte(lists + place, row)
            simd.store_i32(end, place + 1)
        begin = stop


@part
def sum_over_spikes(
    lanes: Lanes,
    one: float,
    layer: Layer,
    slot: int,
    all_lists: int,
    tallies: int,
    rows: int,
    scale: float,
    to: int,
    to_pitch: int,
    source: int,
    pitch: int,
) -> None:
    """to[neuron] += scale · Σ source[row] over the rows in which it fired."""
    tally = tally_of(layer, slot, tallies)
    lists, order = all_lists + slot * layer.width * CAPACITY, order_of(tally)
    order += 4 * simd.load_i32(tally)
    for each in range(1, rows + 1):
        count = simd.load_i32(tally + 4 * each)
        if count != 0:
            simd.gather_add(lanes, one, (scale, to, to_pitch, source, pitch, order, count, lists, each))
            order += 4 * count
            lists += each * count
