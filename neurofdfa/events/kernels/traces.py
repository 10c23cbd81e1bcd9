"""Eligibility traces at the end of a chunk."""

# pyright: basic, reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false, reportGeneralTypeIssues=false
from neurofdfa.events import simd
from neurofdfa.events.compiled import part
from neurofdfa.events.fields import (
    ALPHA,
    BETA,
    CAPACITY,
    FIRED,
    INPUT,
    INPUT_KIND,
    INPUT_SAMPLE,
    INPUT_STEP,
    LAYERS,
    LISTS,
    OWN_LISTS,
    OWN_TALLY,
    OWN_TRACES,
    PANELS,
    PLAIN_TRACES,
    RESPONSES,
    SAMPLES,
    SCALE,
    TALLY,
    TRACE_KAPPA,
    TRACES,
    TRANSITIONS,
    WIDE,
    WIDTH,
    N,
)  # fmt: skip
from neurofdfa.events.kernels.layout import group_samples, panel_start, size_of
from neurofdfa.events.kernels.lists import order_of, tally_of


@part
def advance_traces(
    one, head, table, traces, layer, below, stages, lists, tally, scale, samples, steps, late, words
):
    """Traces of one group at the end of a chunk from those at its start and the spikes in between.

    late: 1 for own spikes, which synapses hear a step later (and the fourth row is the last of them).
    """
    size, width = size_of(one), table[below, WIDTH]
    responses = head[RESPONSES] + layer * 3 * CAPACITY * 8
    moves = head[TRANSITIONS] + layer * 9 * 8
    count_rows = stages + late
    for c in range(table[below, N]):
        for s in range(samples):
            base = traces + (s * count_rows * width + c) * size
            waiting = simd.load_float(one, base + 3 * width * size) if late else one * 0
            f0 = simd.load_float(one, base)
            f1 = simd.load_float(one, base + width * size) if stages == 3 else one * 0
            f2 = simd.load_float(one, base + 2 * width * size) if stages == 3 else one * 0
            for k in range(stages):
                row = moves + k * 24
                value = f0 * simd.load_f64(row) + f1 * simd.load_f64(row + 8) + f2 * simd.load_f64(row + 16)
                value += waiting * simd.load_f64(responses + (k * CAPACITY + steps - 1) * 8)
                simd.store_float(one, base + k * width * size, value)
    order = order_of(tally)
    for each in range(CAPACITY + 1):
        for _ in range(simd.load_i32(tally + 4 * each)):
            c = simd.load_i32(order)
            order += 4
            for _ in range(each):
                row = simd.load_byte(lists)
                lists += 1
                s = row // steps
                base = traces + (s * count_rows * width + c) * size
                age = steps - 1 - (row - s * steps) - late
                for k in range(stages):
                    place = base + k * width * size
                    add = scale * simd.load_f64(responses + (k * CAPACITY + age) * 8)
                    simd.store_float(one, place, simd.load_float(one, place) + add)
    if late:
        panels = table[below, PANELS]
        for s in range(samples):
            for panel in range(panels):
                first = panel_start(below, table, panel)
                bits = simd.load_i64(words + (s * panels + panel) * 8)
                wide = 64 if panel < table[below, WIDE] else 16
                for c in range(wide):
                    place = traces + ((s * 4 + 3) * width + first + c) * size
                    simd.store_float(one, place, one * ((bits >> c) & 1))


@part
def advance_dense(one, head, table, floats, traces, layer, group, samples, start, steps):
    """The same for an input of values, step by step."""
    size, width = size_of(one), table[0, WIDTH]
    alpha, beta, kappa = floats[layer, ALPHA], floats[layer, BETA], floats[layer, TRACE_KAPPA]
    for s in range(samples):
        here = head[INPUT] + (group * head[SAMPLES] + s) * head[INPUT_SAMPLE] + start * head[INPUT_STEP]
        base = traces + s * 3 * width * size
        for t in range(steps):
            for c in range(table[0, N]):
                place = base + c * size
                x = simd.load_float(one, here + t * head[INPUT_STEP] + c * size)
                f2 = alpha * simd.load_float(one, place + 2 * width * size) + x
                f1 = beta * simd.load_float(one, place + width * size) + f2
                simd.store_float(one, place + 2 * width * size, f2)
                simd.store_float(one, place + width * size, f1)
                simd.store_float(one, place, kappa * simd.load_float(one, place) + f1)


@part
def keep_traces(one, head, table, floats, slot, group, start, steps):
    """Advance every trace to the end of the chunk."""
    size, last = size_of(one), head[LAYERS]
    samples, place = group_samples(head, group), slot * head[SAMPLES]
    for layer in range(1, last + 2):
        below = layer - 1
        lists = table[below, LISTS] + slot * table[below, WIDTH] * CAPACITY
        tally = tally_of(table, below, slot, table[below, TALLY])
        scale = floats[below, SCALE]
        if table[layer, TRACES] != 0:
            traces = table[layer, TRACES] + place * 3 * table[below, WIDTH] * size
            if below == 0 and head[INPUT_KIND] == 3:
                advance_dense(one, head, table, floats, traces, layer, group, samples, start, steps)
            else:
                advance_traces(
                    one, head, table, traces, layer, below, 3, lists, tally, scale, samples, steps, 0, 0
                )
        if table[layer, OWN_TRACES] != 0:
            traces = table[layer, OWN_TRACES] + place * 4 * table[layer, WIDTH] * size
            own = table[layer, OWN_LISTS] + slot * table[layer, WIDTH] * CAPACITY
            own_tally = tally_of(table, layer, slot, table[layer, OWN_TALLY])
            words = table[layer, FIRED] + place * table[layer, PANELS] * 8
            advance_traces(
                one, head, table, traces, layer, layer, 3, own, own_tally, 1.0, samples, steps, 1, words
            )
        if below >= 1 and table[below, PLAIN_TRACES] != 0:
            traces = table[below, PLAIN_TRACES] + place * table[below, WIDTH] * size
            advance_traces(one, head, table, traces, 0, below, 1, lists, tally, scale, samples, steps, 0, 0)
