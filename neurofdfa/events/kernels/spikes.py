"""Lists of spikes: from the input, from the layers, for whoever wants them."""

from typing import Any

import numba

from neurofdfa.events import simd
from neurofdfa.events.compiled import part
from neurofdfa.events.kernels.layout import (
    events_of,
    group_samples,
    own_steps,
    panel_start,
    size_of,
    starts_of,
)
from neurofdfa.events.kernels.lists import sort_by_neuron
from neurofdfa.events.records import CAPACITY, INPUT_EVENTS, Head, Layer
from neurofdfa.events.simd.emit import Lanes


@part
def extract_bits(events: int, count: int, first: int, bits: int) -> int:
    """Append the numbers of the bits that are set; returns the new count.

    Eight are written whatever their number: the branch that is left is nearly always predicted.
    """
    place, left = events + 4 * count, bits
    for k in range(8):
        simd.store_i32(place + 4 * k, first + simd.lowest(left))
        left &= left - 1
    k = 8
    while left != 0:
        simd.store_i32(place + 4 * k, first + simd.lowest(left))
        left &= left - 1
        k += 1
    return count + simd.ones(bits)


append_bits = simd.compress_bits if simd.AVX512 else extract_bits


@part
def read_input(one: float, head: Head, layer: Layer, group: int, slot: int, start: int, steps: int) -> None:
    """List the active input channels of every row, and per channel the rows."""
    samples, channels, kind = group_samples(head, group), layer.n, head.input_kind
    events, starts = events_of(layer, slot), starts_of(layer, slot)
    seen = 0
    simd.store_i32(starts, 0)
    for s in range(samples):
        sample = group * head.samples + s
        here = head.input + sample * head.input_sample + start * head.input_step
        keep = layer.keep
        if keep != 0:
            keep += sample * layer.keep_pitch
        own = own_steps(head, sample, start, steps)
        for t in range(steps):
            if t >= own:
                pass
            elif kind == 0:
                seen = read_row(numba.uint8(1), head, here, events, seen, channels, keep)
            elif kind == 1:
                seen = read_row(numba.float32(1), head, here, events, seen, channels, keep)
            elif kind == 2:
                seen = read_row(numba.float64(1), head, here, events, seen, channels, keep)
            else:
                seen = copy_events(head, events, seen, sample, start + t, keep)
            simd.store_i32(starts + 4 * (s * steps + t + 1), seen)
            here += head.input_step
    if head.learn != 0:
        sort_by_neuron(layer, slot, layer.lists, layer.tally, samples * steps)
    simd.store_i64(head.counters + 8 * INPUT_EVENTS, simd.load_i64(head.counters + 8 * INPUT_EVENTS) + seen)


@part
def read_row(sample: Any, head: Head, here: int, events: int, count: int, channels: int, keep: int) -> int:
    """Append the active channels of one row of a tensor; returns the new count.

    A later row is asked for on the way: a sample's rows are too far apart for the processor to guess.
    """
    width, flag = 64 * simd.width_of(sample), head.counters
    later = here + 2 * head.input_step
    for first in range(0, channels, 64):
        for line in range(0, width, 64):
            simd.prefetch(later + line)
        bits = simd.nonzero_bits(sample, here, channels - first, flag)
        if keep != 0:
            bits &= simd.load_i64(keep + first // 8)
        count = append_bits(events, count, first, bits)
        here += width
        later += width
    return count


@part
def copy_events(head: Head, events: int, count: int, sample: int, t: int, keep: int) -> int:
    """Append one row of an input that comes as lists; returns the new count."""
    place = head.input_starts + sample * head.input_sample + t * 8
    for e in range(simd.load_i64(place), simd.load_i64(place + 8)):
        c = simd.load_i32(head.input + 4 * e)
        simd.store_i32(events + 4 * count, c)
        if keep == 0 or (simd.load_i64(keep + 8 * (c // 64)) >> (c % 64)) & 1 != 0:
            count += 1
    return count


@part
def list_layer(head: Head, layer: Layer, slot: int, group: int, steps: int) -> None:
    """List a hidden layer's transmitted spikes by row and by neuron, and count all of them."""
    rows = group_samples(head, group) * steps
    if head.learn != 0 and layer.own_lists != 0:
        list_rows(head, layer, slot, group, steps, steps - 1, 0)
        sort_by_neuron(layer, slot, layer.own_lists, layer.own_tally, rows)
    fired = list_rows(head, layer, slot, group, steps, steps, layer.keep)
    if head.learn != 0:
        sort_by_neuron(layer, slot, layer.lists, layer.tally, rows)
    total = head.counters + 8 * (1 + layer.index)
    simd.store_i64(total, simd.load_i64(total) + fired)
    if head.lengths != 0:
        count_own(head, layer, slot, group, steps)


@part
def count_own(head: Head, layer: Layer, slot: int, group: int, steps: int) -> None:
    """Add to the spikes per step of every sample's own."""
    words = layer.spikes + slot * layer.panels * CAPACITY * 8
    place = head.own_counts + 8 * layer.index
    for s in range(group_samples(head, group)):
        fired = 0
        for panel in range(layer.panels):
            for row in range(s * steps, (s + 1) * steps):
                fired += simd.ones(simd.load_i64(words + (panel * CAPACITY + row) * 8))
        all_steps = simd.load_i64(head.lengths + 24 * (group * head.samples + s))
        simd.store_f64(place, simd.load_f64(place) + fired / all_steps)


@part
def list_rows(head: Head, layer: Layer, slot: int, group: int, steps: int, heard: int, keep: int) -> int:
    """List a layer's spikes row by row, those of the first `heard` steps; returns how many there were.

    keep: words of the neurons that transmit, or 0 for all.
    """
    events, starts = events_of(layer, slot), starts_of(layer, slot)
    panels = layer.panels
    words = layer.spikes + slot * panels * CAPACITY * 8
    seen = fired = 0
    simd.store_i32(starts, 0)
    for s in range(group_samples(head, group)):
        kept = keep + (group * head.samples + s) * layer.keep_pitch
        for t in range(steps):
            row = s * steps + t
            if t < heard:
                for panel in range(panels):
                    bits = simd.load_i64(words + (panel * CAPACITY + row) * 8)
                    fired += simd.ones(bits)
                    if keep != 0:
                        bits &= simd.load_i64(kept + 8 * panel)
                    seen = append_bits(events, seen, panel_start(layer, panel), bits)
            simd.store_i32(starts + 4 * (row + 1), seen)
    return fired


@part
def count_steps(layer: Layer, words: int, first: int, start: int, steps: int) -> None:
    """Count spikes per step and neuron, for the rate target."""
    for t in range(steps):
        bits = simd.load_i64(words + 8 * t)
        line = layer.step_counts + (start + t) * layer.width * 4
        while bits != 0:
            place = line + 4 * (first + simd.lowest(bits))
            bits &= bits - 1
            simd.store_i32(place, simd.load_i32(place) + 1)


@part
def record_panel(
    lanes: Lanes,
    one: float,
    head: Head,
    layer: Layer,
    sample: int,
    start: int,
    steps: int,
    first: int,
    words: int,
    membranes: int,
) -> None:
    """Copy spikes and membranes to where the caller wants them."""
    n, size, lane_count = layer.n, size_of(one), len(lanes) * 16
    count = n - first if n - first < lane_count else lane_count
    for t in range(steps):
        offset = ((start + t) * head.batch + sample) * n + first
        if layer.record != 0:
            bits = simd.load_i64(words + 8 * t)
            if count == lane_count:
                simd.bytes_of(lanes, one, (layer.record + offset, bits))
            else:
                for c in range(count):
                    simd.store_byte(layer.record + offset + c, (bits >> c) & 1)
        if layer.membrane != 0:
            for c in range(count):
                value = simd.load_float(one, membranes + (t * lane_count + c) * size)
                simd.store_float(one, layer.membrane + (offset + c) * size, value)
