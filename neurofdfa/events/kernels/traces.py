"""Eligibility traces at the end of a chunk."""

from neurofdfa.events import simd
from neurofdfa.events.compiled import part
from neurofdfa.events.kernels.layout import group_samples, panel_start, size_of
from neurofdfa.events.kernels.lists import order_of, tally_of
from neurofdfa.events.records import CAPACITY, Head, Layer, Layers


@part
def advance_traces(
    one: float,
    head: Head,
    traces: int,
    constants: int,
    below: Layer,
    stages: int,
    lists: int,
    tally: int,
    scale: float,
    samples: int,
    steps: int,
    late: int,
    words: int,
) -> None:
    """Traces of one group at the end of a chunk from those at its start and the spikes in between.

    constants: row of the trace's numbers, see `constants.fill`. late: 1 for own spikes, which synapses hear
    a step later (and the fourth row is the last of them).
    """
    size, width = size_of(one), below.width
    responses = head.responses + constants * 3 * CAPACITY * 8
    moves = head.transitions + constants * 9 * 8
    count_rows = stages + late
    for c in range(below.n):
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
        panels = below.panels
        for s in range(samples):
            for panel in range(panels):
                first = panel_start(below, panel)
                bits = simd.load_i64(words + (s * panels + panel) * 8)
                wide = 64 if panel < below.wide else 16
                for c in range(wide):
                    place = traces + ((s * 4 + 3) * width + first + c) * size
                    simd.store_float(one, place, one * ((bits >> c) & 1))


@part
def advance_dense(
    one: float,
    head: Head,
    traces: int,
    below: Layer,
    layer: Layer,
    group: int,
    samples: int,
    start: int,
    steps: int,
) -> None:
    """The same for an input of values, step by step."""
    size, width = size_of(one), below.width
    alpha, beta, kappa = layer.alpha, layer.beta, layer.trace_kappa
    for s in range(samples):
        here = head.input + (group * head.samples + s) * head.input_sample + start * head.input_step
        base = traces + s * 3 * width * size
        for t in range(steps):
            for c in range(below.n):
                place = base + c * size
                x = simd.load_float(one, here + t * head.input_step + c * size)
                f2 = alpha * simd.load_float(one, place + 2 * width * size) + x
                f1 = beta * simd.load_float(one, place + width * size) + f2
                simd.store_float(one, place + 2 * width * size, f2)
                simd.store_float(one, place + width * size, f1)
                simd.store_float(one, place, kappa * simd.load_float(one, place) + f1)


@part
def keep_traces(
    one: float, head: Head, layers: Layers, slot: int, group: int, start: int, steps: int
) -> None:
    """Advance every trace to the end of the chunk."""
    size, last = size_of(one), head.hidden
    samples, place = group_samples(head, group), slot * head.samples
    for k in range(1, last + 2):
        below, layer = layers[k - 1], layers[k]
        lists = below.lists + slot * below.width * CAPACITY
        tally = tally_of(below, slot, below.tally)
        scale = below.scale
        if layer.traces != 0:
            traces = layer.traces + place * 3 * below.width * size
            if k == 1 and head.input_kind == 3:
                advance_dense(one, head, traces, below, layer, group, samples, start, steps)
            else:
                advance_traces(one, head, traces, k, below, 3, lists, tally, scale, samples, steps, 0, 0)
        if layer.own_traces != 0:
            traces = layer.own_traces + place * 4 * layer.width * size
            own = layer.own_lists + slot * layer.width * CAPACITY
            own_tally = tally_of(layer, slot, layer.own_tally)
            words = layer.fired + place * layer.panels * 8
            advance_traces(one, head, traces, k, layer, 3, own, own_tally, 1.0, samples, steps, 1, words)
        if k > 1 and below.plain_traces != 0:
            traces = below.plain_traces + place * below.width * size
            advance_traces(one, head, traces, 0, below, 1, lists, tally, scale, samples, steps, 0, 0)
