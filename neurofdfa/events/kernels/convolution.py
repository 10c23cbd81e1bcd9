"""Convolutions on spikes: the neurons of a panel are a tile of positions × channels that hears a window.

All tiles share one block of weights, [window row, window column, channel below, lane], in which a weight
stands once for every position of the tile, and 0 where a position does not reach. It stays in the cache.
The spikes below are listed once more as the *view* has them: by position of the image that is convolved,
behind its pool. A line of a window is then one stretch of a row's spikes, and of the weights as well.
"""

# pyright: basic, reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false, reportGeneralTypeIssues=false
from neurofdfa.events import simd
from neurofdfa.events.compiled import part
from neurofdfa.events.fields import (
    BIAS,
    BLOCKS,
    CAPACITY,
    CARRY,
    DOWN,
    GRADIENT,
    IMAGE,
    INPUT,
    INPUT_KIND,
    INPUT_SAMPLE,
    INPUT_STEP,
    LEARN,
    LISTED,
    PADDING,
    PANEL,
    PANELS,
    PLACES,
    POSITIONS,
    RIGHT,
    SAMPLES,
    SCALE,
    SEEN_BEGINS,
    SEEN_EVENTS,
    SEEN_LISTS,
    SEEN_STARTS,
    SEEN_VALUES,
    SPIKES,
    TILES,
    TRACES,
    VIEW,
    VIEW_CHANNELS,
    VIEW_COLUMNS,
    VIEW_ROWS,
    WEIGHT,
    WIDTH,
    WINDOW_COLUMNS,
    WINDOW_ROWS,
    ZEROS,
    N,
)  # fmt: skip
from neurofdfa.events.kernels.forward import finish_panel, step_panel
from neurofdfa.events.kernels.layout import FOUR, deep_product, events_of, group_samples, size_of, starts_of
from neurofdfa.events.kernels.learning import decay_carry, panel_errors
from neurofdfa.events.kernels.spikes import list_layer


@part
def of(table, layer, field):
    """A number of a layer's record."""
    return simd.load_i64(table[layer, IMAGE] + 8 * field)


@part
def seen_of(table, layer, slot):
    """Where the view's spikes and the starts of their positions lie."""
    pitch = (of(table, layer, POSITIONS) + 2) * 4
    events = of(table, layer, SEEN_EVENTS) + slot * of(table, layer, LISTED) * 4
    return events, of(table, layer, SEEN_STARTS) + slot * CAPACITY * pitch, pitch


@part
def begins_of(table, layer, slot):
    """Where the view's rows by neuron lie, and their starts."""
    begins = of(table, layer, SEEN_BEGINS) + slot * (of(table, layer, VIEW) + 2) * 4
    return of(table, layer, SEEN_LISTS) + slot * of(table, layer, LISTED), begins


@part
def accumulate(cells, count, begin):
    """From counts, each two cells late, to where each begins, one cell late."""
    simd.store_i32(cells, begin)
    simd.store_i32(cells + 4, begin)
    for k in range(2, count + 1):
        begin += simd.load_i32(cells + 4 * k)
        simd.store_i32(cells + 4 * k, begin)


@part
def count_up(cell):
    """Add 1 to a number; returns what it was."""
    value = simd.load_i32(cell)
    simd.store_i32(cell, value + 1)
    return value


@part
def view_spikes(head, table, layer, slot, rows):
    """List the spikes below by row and position of the view, and to learn by its neurons: counting sorts."""
    places, positions, view = of(table, layer, PLACES), of(table, layer, POSITIONS), of(table, layer, VIEW)
    events, starts = events_of(table, layer - 1, slot), starts_of(table, layer - 1, slot)
    seen, cells, pitch = seen_of(table, layer, slot)
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
    if head[LEARN] == 0:
        return
    lists, begins = begins_of(table, layer, slot)
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
def window(table, layer, panel):
    """What a panel hears: first line, number of lines, first position and positions per line inside the
    image, and the row of the weights of the first of them.
    """
    tile, block = panel // of(table, layer, BLOCKS), panel % of(table, layer, BLOCKS)
    y = tile // of(table, layer, TILES) * of(table, layer, DOWN) - of(table, layer, PADDING)
    x = tile % of(table, layer, TILES) * of(table, layer, RIGHT) - of(table, layer, PADDING)
    tall, wide = of(table, layer, WINDOW_ROWS), of(table, layer, WINDOW_COLUMNS)
    top, left = max(y, 0), max(x, 0)
    lines = min(y + tall, of(table, layer, VIEW_ROWS)) - top
    span = min(x + wide, of(table, layer, VIEW_COLUMNS)) - left
    if lines < 0 or span < 0:
        lines = span = 0
    row = ((block * tall + top - y) * wide + left - x) * of(table, layer, VIEW_CHANNELS)
    return lines, span, top * of(table, layer, VIEW_COLUMNS) + left, row


@part
def drive_tile(one, head, table, floats, layer, slot, group, start, steps, panel, to):
    """To ← W s (+ b) of one panel for all rows of a group."""
    size = size_of(one)
    pitch, samples, channels = 64 * size, group_samples(head, group), of(table, layer, VIEW_CHANNELS)
    base = table[layer, BIAS] + panel * pitch if table[layer, BIAS] != 0 else head[ZEROS]
    lines, span, first, heard = window(table, layer, panel)
    columns, wide = of(table, layer, VIEW_COLUMNS), of(table, layer, WINDOW_COLUMNS)
    weight = table[layer, WEIGHT] + heard * pitch
    if layer > 1 or head[INPUT_KIND] != 3:
        seen, cells, row = seen_of(table, layer, slot)
        simd.patch_sum(
            FOUR, one,
            (floats[layer - 1, SCALE], to, pitch, base, weight - first * channels * pitch,
             (wide - columns) * channels * pitch, pitch, seen, cells + 4 * first, row, 4 * columns, 4 * span,
             lines, samples * steps),
        )  # fmt: skip
        return
    simd.copy_rows(FOUR, one, (to, pitch, base, samples * steps))
    for s in range(samples):
        here = head[INPUT] + (group * head[SAMPLES] + s) * head[INPUT_SAMPLE] + start * head[INPUT_STEP]
        for line in range(lines):
            seen = here + (first + line * columns) * channels * size
            deep_product(
                FOUR, one, one, to + s * steps * pitch, pitch, seen, head[INPUT_STEP],
                weight + line * wide * channels * pitch, steps, span * channels,
            )  # fmt: skip


@part
def forward_image(one, head, table, floats, layer, begin, groups, start, steps):
    """A convolutional layer for a block of groups."""
    size, drive = size_of(one), head[PANEL]
    for slot in range(groups):
        group, samples = begin + slot, group_samples(head, begin + slot)
        if layer > 1 or head[INPUT_KIND] != 3:
            view_spikes(head, table, layer, slot, samples * steps)
        for panel in range(table[layer, PANELS]):
            drive_tile(one, head, table, floats, layer, slot, group, start, steps, panel, drive)
            words = table[layer, SPIKES] + (slot * table[layer, PANELS] + panel) * CAPACITY * 8
            for s in range(samples):
                step_panel(
                    FOUR, one, head, table, floats, layer, slot, s, panel, panel * 64,
                    drive + s * steps * 64 * size, words + 8 * s * steps, steps,
                )  # fmt: skip
            finish_panel(
                FOUR, one, head, table, floats, layer, slot, group, start, steps, panel, panel * 64, drive
            )
        list_layer(head, table, layer, slot, group, steps)


@part
def view_values(one, table, layer, source, rows):
    """SEEN_VALUES[row] ← the view of values of the neurons below, row by row, `rows` of them."""
    size, below, view = size_of(one), table[layer - 1, WIDTH], of(table, layer, VIEW)
    to, places = of(table, layer, SEEN_VALUES), of(table, layer, PLACES)
    for _ in range(rows):
        for v in range(view):
            simd.store_float(one, to + v * size, one * 0)
        for c in range(table[layer - 1, N]):
            v = simd.load_i32(places + 8 * c)
            if v < view:
                value = simd.load_float(one, to + v * size) + simd.load_float(one, source + c * size)
                simd.store_float(one, to + v * size, value)
        to += view * size
        source += below * size


@part
def learn_tile(one, head, table, floats, layer, slot, group, start, steps, panel):
    """Errors of one panel and what they add to the gradient that all tiles share."""
    size = size_of(one)
    pitch, samples, channels = 64 * size, group_samples(head, group), of(table, layer, VIEW_CHANNELS)
    panel_errors(FOUR, one, head, table, floats, layer, slot, group, steps, panel * 64)
    errors, carry = head[PANEL], head[CARRY]
    lines, span, first, heard = window(table, layer, panel)
    columns, wide = of(table, layer, VIEW_COLUMNS), of(table, layer, WINDOW_COLUMNS)
    dense = layer == 1 and head[INPUT_KIND] == 3
    lists, begins = begins_of(table, layer, slot)
    if start > 0:
        decay_carry(FOUR, one, head, table, floats, layer, samples, start, panel * 64)
    traces, width = of(table, layer, SEEN_VALUES), of(table, layer, VIEW) * size
    if dense:
        width = table[0, WIDTH] * size
        traces = table[1, TRACES] + slot * head[SAMPLES] * 3 * width
    for line in range(lines):
        to = table[layer, GRADIENT] + (heard + line * wide * channels) * pitch
        begin, count = (first + line * columns) * channels, span * channels
        if not dense:
            simd.patch_gather(
                FOUR, one, (floats[layer - 1, SCALE], to, pitch, errors, begins + 4 * begin, lists, count)
            )
        # dense values, then the traces that the chunk began with: in one place, as compiling it takes long
        for turn in range(0 if dense else samples, 2 * samples if start > 0 else samples):
            s = turn % samples
            here, step, there, depth = traces + s * 3 * width, width, carry + s * 4 * pitch, 3
            if turn < samples:
                sample = group * head[SAMPLES] + s
                here, step = head[INPUT] + sample * head[INPUT_SAMPLE], head[INPUT_STEP]
                here, there, depth = here + start * step, errors + s * steps * pitch, steps
            simd.product(
                FOUR, one, (one, to, pitch, here + begin * size, size, step, there, pitch, count, depth)
            )


@part
def learn_image(one, head, table, floats, layer, begin, groups, start, steps):
    """Gradients of a convolutional layer for a block of groups."""
    for slot in range(groups):
        samples = group_samples(head, begin + slot)
        if start > 0 and (layer > 1 or head[INPUT_KIND] != 3):
            traces = slot * head[SAMPLES] * 3 * table[layer - 1, WIDTH] * size_of(one)
            view_values(one, table, layer, table[layer, TRACES] + traces, 3 * samples)
        for panel in range(table[layer, PANELS]):
            learn_tile(one, head, table, floats, layer, slot, begin + slot, start, steps, panel)


@part
def tangent_tiles(one, head, table, layer, to, source, rows):
    """to[row] ← W ẋ of all panels."""
    size, channels = size_of(one), of(table, layer, VIEW_CHANNELS)
    pitch, out, width = 64 * size, table[layer, WIDTH] * size, of(table, layer, VIEW) * size
    columns, wide = of(table, layer, VIEW_COLUMNS), of(table, layer, WINDOW_COLUMNS)
    view_values(one, table, layer, source, rows)
    for panel in range(table[layer, PANELS]):
        lines, span, first, heard = window(table, layer, panel)
        here = of(table, layer, SEEN_VALUES) + first * channels * size
        weight = table[layer, WEIGHT] + heard * pitch
        simd.copy_rows(FOUR, one, (to + panel * pitch, out, head[ZEROS], rows))
        for line in range(lines):
            deep_product(
                FOUR, one, one, to + panel * pitch, out, here + line * columns * channels * size, width,
                weight + line * wide * channels * pitch, rows, span * channels,
            )  # fmt: skip
