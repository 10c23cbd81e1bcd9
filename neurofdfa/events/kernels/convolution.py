"""Convolutions on spikes: the neurons of a panel are a tile of positions × channels that hears a window.

All tiles share one block of weights, [window row, window column, channel below, lane], in which a weight
stands once for every position of the tile, and 0 where a position does not reach. It stays in the cache.
The spikes below are listed once more as the *view* has them: by position of the image that is convolved,
behind its pool. A line of a window is then one stretch of a row's spikes, and of the weights as well.
"""

from neurofdfa.events import simd
from neurofdfa.events.compiled import part
from neurofdfa.events.kernels.forward import finish_panel, step_panel
from neurofdfa.events.kernels.layout import (
    FOUR,
    deep_product,
    events_of,
    group_samples,
    group_steps,
    size_of,
    starts_of,
)
from neurofdfa.events.kernels.learning import decay_carry, panel_errors
from neurofdfa.events.kernels.spikes import list_layer
from neurofdfa.events.records import CAPACITY, Head, Layer


@part
def seen_of(layer: Layer, slot: int) -> tuple[int, int, int]:
    """Where the view's spikes and the starts of their positions lie."""
    pitch = (layer.positions + 2) * 4
    events = layer.seen_events + slot * layer.listed * 4
    return events, layer.seen_starts + slot * CAPACITY * pitch, pitch


@part
def begins_of(layer: Layer, slot: int) -> tuple[int, int]:
    """Where the view's rows by neuron lie, and their starts."""
    begins = layer.seen_begins + slot * (layer.view_n + 2) * 4
    return layer.seen_lists + slot * layer.listed, begins


@part
def accumulate(cells: int, count: int, begin: int) -> None:
    """From counts, each two cells late, to where each begins, one cell late."""
    simd.store_i32(cells, begin)
    simd.store_i32(cells + 4, begin)
    for k in range(2, count + 1):
        begin += simd.load_i32(cells + 4 * k)
        simd.store_i32(cells + 4 * k, begin)


@part
def count_up(cell: int) -> int:
    """Add 1 to a number; returns what it was."""
    value = simd.load_i32(cell)
    simd.store_i32(cell, value + 1)
    return value


@part
def view_spikes(head: Head, below: Layer, layer: Layer, slot: int, rows: int) -> None:
    """List the spikes below by row and position of the view, and to learn by its neurons: counting sorts."""
    places, positions, view = layer.places, layer.positions, layer.view_n
    events, starts = events_of(below, slot), starts_of(below, slot)
    seen, cells, pitch = seen_of(layer, slot)
    begin = 0
    for row in range(rows):
        end = simd.load_i32(starts + 4 * (row + 1))
        for k in range(positions + 2):
            simd.store_i32(cells + 4 * k, 0)
        for e in range(begin, end):
            place = places + 8 * simd.load_i32(events + 4 * e)
            count_up(cells + 4 * (simd.load_i32(place + 4) + 2))
        accumulate(cells, positions, begin)
        for e in range(begin, end):
            place = places + 8 * simd.load_i32(events + 4 * e)
            to = count_up(cells + 4 * (simd.load_i32(place + 4) + 1))
            simd.store_i32(seen + 4 * to, simd.load_i32(place))
        cells += pitch
        begin = end
    if head.learn == 0:
        return
    lists, begins = begins_of(layer, slot)
    for k in range(view + 2):
        simd.store_i32(begins + 4 * k, 0)
    for e in range(begin):
        count_up(begins + 4 * (simd.load_i32(seen + 4 * e) + 2))
    accumulate(begins, view, 0)
    begin = 0
    for row in range(rows):
        end = simd.load_i32(starts + 4 * (row + 1))
        for e in range(begin, end):
            to = count_up(begins + 4 * (simd.load_i32(seen + 4 * e) + 1))
            simd.store_byte(lists + to, row)
        begin = end


@part
def window(layer: Layer, panel: int) -> tuple[int, int, int, int]:
    """What a panel hears: first line, number of lines, first position and positions per line inside the
    image, and the row of the weights of the first of them.
    """
    tile, block = panel // layer.blocks, panel % layer.blocks
    y = tile // layer.tiles * layer.down - layer.padding
    x = tile % layer.tiles * layer.right - layer.padding
    tall, wide = layer.window_rows, layer.window_columns
    top, left = max(y, 0), max(x, 0)
    lines = min(y + tall, layer.view_rows) - top
    span = min(x + wide, layer.view_columns) - left
    if lines < 0 or span < 0:
        lines = span = 0
    row = ((block * tall + top - y) * wide + left - x) * layer.view_channels
    return lines, span, top * layer.view_columns + left, row


@part
def drive_tile(
    one: float,
    head: Head,
    below: Layer,
    layer: Layer,
    slot: int,
    group: int,
    start: int,
    steps: int,
    panel: int,
    to: int,
) -> None:
    """To ← W s (+ b) of one panel for all rows of a group."""
    size = size_of(one)
    pitch, samples, channels = 64 * size, group_samples(head, group), layer.view_channels
    base = layer.bias + panel * pitch if layer.bias != 0 else head.zeros
    lines, span, first, heard = window(layer, panel)
    columns, wide = layer.view_columns, layer.window_columns
    weight = layer.weight + heard * pitch
    if layer.index > 1 or head.input_kind != 3:
        seen, cells, row = seen_of(layer, slot)
        simd.patch_sum(
            FOUR, one,
            (below.scale, to, pitch, base, weight - first * channels * pitch,
             (wide - columns) * channels * pitch, pitch, seen, cells + 4 * first, row, 4 * columns, 4 * span,
             lines, samples * steps),
        )  # fmt: skip
        return
    simd.copy_rows(FOUR, one, (to, pitch, base, samples * steps))
    for s in range(samples):
        here = head.input + (group * head.samples + s) * head.input_sample + start * head.input_step
        for line in range(lines):
            seen = here + (first + line * columns) * channels * size
            deep_product(
                FOUR, one, one, to + s * steps * pitch, pitch, seen, head.input_step,
                weight + line * wide * channels * pitch, steps, span * channels,
            )  # fmt: skip


@part
def forward_image(
    one: float, head: Head, below: Layer, layer: Layer, begin: int, groups: int, start: int, steps: int
) -> None:
    """A convolutional layer for a block of groups."""
    size, drive, whole = size_of(one), head.panel, steps
    for slot in range(groups):
        group, samples = begin + slot, group_samples(head, begin + slot)
        steps = group_steps(head, group, start, whole)
        if steps == 0:
            continue
        if layer.index > 1 or head.input_kind != 3:
            view_spikes(head, below, layer, slot, samples * steps)
        for panel in range(layer.panels):
            drive_tile(one, head, below, layer, slot, group, start, steps, panel, drive)
            for s in range(samples):
                row = s * steps
                here = drive + row * 64 * size
                step_panel(FOUR, one, head, layer, slot, s, panel, panel * 64, row, here, steps)
            finish_panel(FOUR, one, head, layer, slot, group, start, steps, panel, panel * 64, drive)
        list_layer(head, layer, slot, group, steps)


@part
def view_values(one: float, below: Layer, layer: Layer, source: int, rows: int) -> None:
    """SEEN_VALUES[row] ← the view of values of the neurons below, row by row, `rows` of them."""
    size, width, view = size_of(one), below.width, layer.view_n
    to, places = layer.seen_values, layer.places
    for _ in range(rows):
        for v in range(view):
            simd.store_float(one, to + v * size, one * 0)
        for c in range(below.n):
            v = simd.load_i32(places + 8 * c)
            if v < view:
                value = simd.load_float(one, to + v * size) + simd.load_float(one, source + c * size)
                simd.store_float(one, to + v * size, value)
        to += view * size
        source += width * size


@part
def learn_tile(
    one: float,
    head: Head,
    below: Layer,
    layer: Layer,
    slot: int,
    group: int,
    start: int,
    steps: int,
    panel: int,
) -> None:
    """Errors of one panel and what they add to the gradient that all tiles share."""
    size = size_of(one)
    pitch, samples, channels = 64 * size, group_samples(head, group), layer.view_channels
    panel_errors(FOUR, one, head, layer, slot, group, start, steps, panel * 64)
    errors, carry = head.panel, head.carry
    lines, span, first, heard = window(layer, panel)
    columns, wide = layer.view_columns, layer.window_columns
    dense = layer.index == 1 and head.input_kind == 3
    lists, begins = begins_of(layer, slot)
    carried = start > 0 and head.exact == 0
    if carried:
        decay_carry(FOUR, one, head, layer, samples, start, panel * 64)
    traces, width = layer.seen_values, layer.view_n * size
    if dense:
        width = below.width * size
        traces = layer.traces + slot * head.samples * 3 * width
    for line in range(lines):
        to = layer.gradient + (heard + line * wide * channels) * pitch
        begin, count = (first + line * columns) * channels, span * channels
        if not dense:
            simd.patch_gather(FOUR, one, (below.scale, to, pitch, errors, begins + 4 * begin, lists, count))
        # dense values, then the traces that the chunk began with: in one place, as compiling it takes long
        for turn in range(0 if dense else samples, 2 * samples if carried else samples):
            s = turn % samples
            here, step, there, depth = traces + s * 3 * width, width, carry + s * 4 * pitch, 3
            if turn < samples:
                sample = group * head.samples + s
                here, step = head.input + sample * head.input_sample, head.input_step
                here, there, depth = here + start * step, errors + s * steps * pitch, steps
            simd.product(
                FOUR, one, (one, to, pitch, here + begin * size, size, step, there, pitch, count, depth)
            )


@part
def learn_image(
    one: float, head: Head, below: Layer, layer: Layer, begin: int, groups: int, start: int, steps: int
) -> None:
    """Gradients of a convolutional layer for a block of groups."""
    whole = steps
    for slot in range(groups):
        steps, samples = group_steps(head, begin + slot, start, whole), group_samples(head, begin + slot)
        if steps == 0:
            continue
        if start > 0 and head.exact == 0 and (layer.index > 1 or head.input_kind != 3):
            traces = slot * head.samples * 3 * below.width * size_of(one)
            view_values(one, below, layer, layer.traces + traces, 3 * samples)
        for panel in range(layer.panels):
            learn_tile(one, head, below, layer, slot, begin + slot, start, steps, panel)


@part
def tangent_tiles(
    one: float, head: Head, below: Layer, layer: Layer, to: int, source: int, rows: int
) -> None:
    """to[row] ← W ẋ of all panels."""
    size, channels = size_of(one), layer.view_channels
    pitch, out, width = 64 * size, layer.width * size, layer.view_n * size
    columns, wide = layer.view_columns, layer.window_columns
    view_values(one, below, layer, source, rows)
    for panel in range(layer.panels):
        lines, span, first, heard = window(layer, panel)
        here = layer.seen_values + first * channels * size
        weight = layer.weight + heard * pitch
        simd.copy_rows(FOUR, one, (to + panel * pitch, out, head.zeros, rows))
        for line in range(lines):
            deep_product(
                FOUR, one, one, to + panel * pitch, out, here + line * columns * channels * size, width,
                weight + line * wide * channels * pitch, rows, span * channels,
            )  # fmt: skip
