"""Lists of spikes: from the input, from the layers, for whoever wants them."""

# pyright: basic, reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false, reportGeneralTypeIssues=false
import numba

from neurofdfa.events import simd
from neurofdfa.events.compiled import part
from neurofdfa.events.fields import (
    BATCH,
    CAPACITY,
    FLAGS,
    INPUT,
    INPUT_EVENTS,
    INPUT_KIND,
    INPUT_SAMPLE,
    INPUT_STARTS,
    INPUT_STEP,
    KEEP,
    KEEP_PITCH,
    LEARN,
    LISTS,
    MEMBRANE,
    OWN_LISTS,
    OWN_TALLY,
    PANELS,
    RECORD,
    SAMPLES,
    SPIKES,
    STEP_COUNTS,
    STEPS,
    TALLY,
    WIDTH,
    N,
)  # fmt: skip
from neurofdfa.events.kernels.layout import events_of, group_samples, panel_start, size_of, starts_of
from neurofdfa.events.kernels.lists import sort_by_neuron


@part
def extract_bits(events, count, first, bits):
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
def read_input(one, head, table, group, slot, start, steps):
    """List the active input channels of every row, and per channel the rows."""
    samples, channels, kind = group_samples(head, group), table[0, N], head[INPUT_KIND]
    events, starts = events_of(table, 0, slot), starts_of(table, 0, slot)
    seen = 0
    simd.store_i32(starts, 0)
    for s in range(samples):
        sample = group * head[SAMPLES] + s
        here = head[INPUT] + sample * head[INPUT_SAMPLE] + start * head[INPUT_STEP]
        keep = table[0, KEEP]
        if keep != 0:
            keep += sample * table[0, KEEP_PITCH]
        for t in range(steps):
            if kind == 0:
                seen = read_row(numba.uint8(1), head, here, events, seen, channels, keep)
            elif kind == 1:
                seen = read_row(numba.float32(1), head, here, events, seen, channels, keep)
            elif kind == 2:
                seen = read_row(numba.float64(1), head, here, events, seen, channels, keep)
            else:
                seen = copy_events(head, events, seen, sample, start + t, keep)
            simd.store_i32(starts + 4 * (s * steps + t + 1), seen)
            here += head[INPUT_STEP]
    if head[LEARN] != 0:
        sort_by_neuron(table, 0, slot, table[0, LISTS], table[0, TALLY], samples * steps)
    simd.store_i64(head[FLAGS] + 8 * INPUT_EVENTS, simd.load_i64(head[FLAGS] + 8 * INPUT_EVENTS) + seen)


@part
def read_row(sample, head, here, events, count, channels, keep):
    """Append the active channels of one row of a tensor; returns the new count.

    A later row is asked for on the way: a sample's rows are too far apart for the processor to guess.
    """
    width, flag = 64 * simd.width_of(sample), head[FLAGS]
    later = here + 2 * head[INPUT_STEP]
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
def copy_events(head, events, count, sample, t, keep):
    """Append one row of an input that comes as lists; returns the new count."""
    place = head[INPUT_STARTS] + (sample * (head[STEPS] + 1) + t) * 8
    for e in range(simd.load_i64(place), simd.load_i64(place + 8)):
        c = simd.load_i32(head[INPUT] + 4 * e)
        simd.store_i32(events + 4 * count, c)
        if keep == 0 or (simd.load_i64(keep + 8 * (c // 64)) >> (c % 64)) & 1 != 0:
            count += 1
    return count


@part
def list_layer(head, table, layer, slot, group, steps):
    """List a hidden layer's transmitted spikes by row and by neuron, and count all of them."""
    rows = group_samples(head, group) * steps
    if head[LEARN] != 0 and table[layer, OWN_LISTS] != 0:
        list_rows(head, table, layer, slot, group, steps, steps - 1, 0)
        sort_by_neuron(table, layer, slot, table[layer, OWN_LISTS], table[layer, OWN_TALLY], rows)
    fired = list_rows(head, table, layer, slot, group, steps, steps, table[layer, KEEP])
    if head[LEARN] != 0:
        sort_by_neuron(table, layer, slot, table[layer, LISTS], table[layer, TALLY], rows)
    total = head[FLAGS] + 8 * (1 + layer)
    simd.store_i64(total, simd.load_i64(total) + fired)


@part
def list_rows(head, table, layer, slot, group, steps, heard, keep):
    """List a layer's spikes row by row, those of the first `heard` steps; returns how many there were.

    keep: words of the neurons that transmit, or 0 for all.
    """
    events, starts = events_of(table, layer, slot), starts_of(table, layer, slot)
    panels = table[layer, PANELS]
    words = table[layer, SPIKES] + slot * panels * CAPACITY * 8
    seen = fired = 0
    simd.store_i32(starts, 0)
    for s in range(group_samples(head, group)):
        kept = keep + (group * head[SAMPLES] + s) * table[layer, KEEP_PITCH]
        for t in range(steps):
            row = s * steps + t
            if t < heard:
                for panel in range(panels):
                    bits = simd.load_i64(words + (panel * CAPACITY + row) * 8)
                    fired += simd.ones(bits)
                    if keep != 0:
                        bits &= simd.load_i64(kept + 8 * panel)
                    seen = append_bits(events, seen, panel_start(layer, table, panel), bits)
            simd.store_i32(starts + 4 * (row + 1), seen)
    return fired


@part
def count_steps(table, layer, words, first, steps):
    """Count spikes per step and neuron, for the rate target."""
    for t in range(steps):
        bits = simd.load_i64(words + 8 * t)
        line = table[layer, STEP_COUNTS] + t * table[layer, WIDTH] * 4
        while bits != 0:
            place = line + 4 * (first + simd.lowest(bits))
            bits &= bits - 1
            simd.store_i32(place, simd.load_i32(place) + 1)


@part
def record_panel(lanes, one, head, table, layer, sample, start, steps, first, words, membranes):
    """Copy spikes and membranes to where the caller wants them."""
    n, size, lane_count = table[layer, N], size_of(one), len(lanes) * 16
    count = n - first if n - first < lane_count else lane_count
    for t in range(steps):
        offset = ((start + t) * head[BATCH] + sample) * n + first
        if table[layer, RECORD] != 0:
            bits = simd.load_i64(words + 8 * t)
            if count == lane_count:
                simd.bytes_of(lanes, one, (table[layer, RECORD] + offset, bits))
            else:
                for c in range(count):
                    simd.store_byte(table[layer, RECORD] + offset + c, (bits >> c) & 1)
        if table[layer, MEMBRANE] != 0:
            for c in range(count):
                value = simd.load_float(one, membranes + (t * lane_count + c) * size)
                simd.store_float(one, table[layer, MEMBRANE] + (offset + c) * size, value)
