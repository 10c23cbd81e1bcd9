"""One training sequence as a few loops over spikes: forward, errors, learning signals, gradients.

The order of work is for the caches. A group is a few samples over a chunk of time, at most 128 rows; a panel
is 64 neurons. Groups are processed one panel at a time, so that its 32 KiB stay in the first cache while
weights and gradients stream past once per group. Spikes are listed twice: row by row, so that a row's weights
are summed in registers, and by pre-synaptic neuron, so that a row of the gradient collects what it needs.
"""

from neurofdfa.events import simd
from neurofdfa.events.compiled import part
from neurofdfa.events.kernels.layout import (
    FOUR,
    ONE,
    deep_product,
    events_of,
    group_samples,
    group_steps,
    membranes_of,
    own_steps,
    panel_start,
    size_of,
    starts_of,
)
from neurofdfa.events.kernels.spikes import count_steps, list_layer, record_panel
from neurofdfa.events.records import CAPACITY, Head, Layer
from neurofdfa.events.simd.emit import Lanes


@part
def drive_panel(
    lanes: Lanes,
    one: float,
    head: Head,
    below: Layer,
    layer: Layer,
    slot: int,
    group: int,
    start: int,
    steps: int,
    first: int,
    to: int,
) -> None:
    """To ← W s (+ b) of one panel for all rows of a group."""
    size = size_of(one)
    pitch = len(lanes) * 16 * size
    samples = group_samples(head, group)
    base = layer.bias + first * size if layer.bias != 0 else head.zeros
    weight = layer.weight + first * below.n * size
    if layer.index == 1 and head.input_kind == 3:
        simd.copy_rows(lanes, one, (to, pitch, base, samples * steps))
        for s in range(samples):
            sample = group * head.samples + s
            here = head.input + sample * head.input_sample + start * head.input_step
            line = to + s * steps * pitch
            deep_product(lanes, one, one, line, pitch, here, head.input_step, weight, steps, below.n)
        return
    sum_rows(lanes, one, below, slot, samples * steps, to, pitch, base, weight)


@part
def sum_rows(
    lanes: Lanes, one: float, below: Layer, slot: int, rows: int, to: int, pitch: int, base: int, weight: int
) -> None:
    """To[row] ← base + Σ of the weight rows of its events."""
    scale, width = below.scale, len(lanes) * 16 * size_of(one)
    events, starts = events_of(below, slot), starts_of(below, slot)
    begin = simd.load_i32(starts)
    for row in range(rows):
        end = simd.load_i32(starts + 4 * (row + 1))
        simd.row_sum(
            lanes, one, (scale, to + row * pitch, base, weight, width, events + 4 * begin, end - begin)
        )
        begin = end


@part
def shape_panel(lanes: Lanes, one: float, layer: Layer, to: int, source: int, rows: int, zeros: int) -> None:
    """ψ of a panel's membranes."""
    kind, pitch = layer.kind, len(lanes) * 16 * size_of(one)
    theta, inverse, height = layer.theta, layer.inverse_width, layer.height
    arguments = (theta, inverse, height, to, source, pitch, rows, zeros)
    if kind == 0:
        simd.fast_sigmoid(lanes, one, arguments)
    elif kind == 1:
        simd.triangular(lanes, one, arguments)
    elif kind == 2:
        simd.arctan(lanes, one, arguments)
    else:
        simd.sigmoid(lanes, one, arguments)


@part
def step_panel(
    lanes: Lanes,
    one: float,
    head: Head,
    layer: Layer,
    slot: int,
    s: int,
    panel: int,
    first: int,
    row: int,
    drive: int,
    steps: int,
) -> None:
    """Advance one panel of neurons of one sample by `steps` steps, from a row of its group on."""
    size = size_of(one)
    place, pitch = slot * head.samples + s, len(lanes) * 16 * size
    words = layer.spikes + ((slot * layer.panels + panel) * CAPACITY + row) * 8
    state = layer.state + (place * layer.width + first) * 3 * size
    fired = layer.fired + (place * layer.panels + panel) * 8
    if layer.general != 0:
        seen = membranes_of(one, layer, slot, first) + row * pitch
        simd.lif_general(
            lanes, one,
            (layer.hard, layer.lost, layer.theta, layer.adaptation, layer.rho, layer.alphas + first * size,
             layer.betas + first * size, drive, pitch, seen, words, steps, state, fired),
        )  # fmt: skip
    else:
        simd.lif(
            lanes, one,
            (layer.alpha, layer.beta, layer.kept, layer.lost, layer.theta, drive, pitch, words, steps, state,
             fired),
        )  # fmt: skip


@part
def finish_panel(
    lanes: Lanes,
    one: float,
    head: Head,
    layer: Layer,
    slot: int,
    group: int,
    start: int,
    steps: int,
    panel: int,
    first: int,
    drive: int,
) -> None:
    """After a panel's membranes are known: ψ, counts, recordings."""
    size = size_of(one)
    pitch = len(lanes) * 16 * size
    samples = group_samples(head, group)
    words = layer.spikes + (slot * layer.panels + panel) * CAPACITY * 8
    if head.learn != 0 and layer.feedback != 0:
        alike = head.lengths == 0
        zeros = head.counters + 8 * (33 + layer.index)
        sums, count = head.own_counts, 8 * (head.hidden + 2)
        for s in range(1 if alike else samples):
            psi = layer.psi + (slot * layer.width + first) * CAPACITY * size + s * steps * pitch
            own = samples * steps
            if not alike:
                own, zeros = own_steps(head, group * head.samples + s, start, steps), sums + 2 * count
                simd.store_i64(zeros, 0)
            shape_panel(lanes, one, layer, psi, drive + s * steps * pitch, own, zeros)
            if not alike:
                simd.fill(lanes, one, (one * 0, psi + own * pitch, pitch, steps - own))
                place = sums + count + 8 * layer.index
                all_steps = simd.load_i64(head.lengths + 24 * (group * head.samples + s))
                simd.store_f64(place, simd.load_f64(place) + simd.load_i64(zeros) / all_steps)
    for s in range(samples):
        these = words + 8 * s * steps
        for t in range(own_steps(head, group * head.samples + s, start, steps), steps):
            simd.store_i64(these + 8 * t, 0)  # nobody hears what a sample does behind its end
        if layer.step_counts != 0:
            count_steps(layer, these, first, start if head.backwards != 0 else 0, steps)
        if layer.record != 0 or layer.membrane != 0:
            sample = group * head.samples + s
            seen = drive if layer.general == 0 else membranes_of(one, layer, slot, first)
            record_panel(
                lanes, one, head, layer, sample, start, steps, first, these, seen + s * steps * pitch
            )


@part
def forward_panel(
    lanes: Lanes,
    one: float,
    head: Head,
    below: Layer,
    layer: Layer,
    slot: int,
    group: int,
    start: int,
    steps: int,
    panel: int,
    first: int,
) -> None:
    """One panel of a feed-forward layer: synapses, neurons, ψ and lists."""
    size = size_of(one)
    drive = head.panel
    pitch = len(lanes) * 16 * size
    drive_panel(lanes, one, head, below, layer, slot, group, start, steps, first, drive)
    for s in range(group_samples(head, group)):
        row = s * steps
        step_panel(lanes, one, head, layer, slot, s, panel, first, row, drive + row * pitch, steps)
    finish_panel(lanes, one, head, layer, slot, group, start, steps, panel, first, drive)


@part
def forward_recurrent(
    one: float, head: Head, below: Layer, layer: Layer, slot: int, group: int, start: int, steps: int
) -> None:
    """A recurrent layer: input of all panels at once, then step by step with the layer's own spikes."""
    size = size_of(one)
    base, panels = head.recurrent_drive, layer.panels
    own_weight, n = layer.recurrent, layer.n
    for panel in range(panels):
        first = panel_start(layer, panel)
        to = base + first * CAPACITY * size
        if panel < layer.wide:
            drive_panel(FOUR, one, head, below, layer, slot, group, start, steps, first, to)
        else:
            drive_panel(ONE, one, head, below, layer, slot, group, start, steps, first, to)
    for s in range(group_samples(head, group)):
        for t in range(own_steps(head, group * head.samples + s, start, steps)):
            row = s * steps + t
            for source in range(panels):
                own = layer.spikes + ((slot * panels + source) * CAPACITY + row - 1) * 8
                if t == 0:
                    own = layer.fired + ((slot * head.samples + s) * panels + source) * 8
                bits, begin = simd.load_i64(own), panel_start(layer, source)
                while bits != 0:
                    c = begin + simd.lowest(bits)
                    bits &= bits - 1
                    if c >= layer.n:
                        continue
                    for panel in range(panels):
                        first = panel_start(layer, panel)
                        to = base + first * CAPACITY * size
                        if panel < layer.wide:
                            heard = own_weight + (first * n + c * 64) * size
                            simd.add_row(FOUR, one, (to + row * 64 * size, heard, 1))
                        else:
                            heard = own_weight + (first * n + c * 16) * size
                            simd.add_row(ONE, one, (to + row * 16 * size, heard, 1))
            for panel in range(panels):
                first = panel_start(layer, panel)
                to = base + first * CAPACITY * size
                if panel < layer.wide:
                    to += row * 64 * size
                    step_panel(FOUR, one, head, layer, slot, s, panel, first, row, to, 1)
                else:
                    to += row * 16 * size
                    step_panel(ONE, one, head, layer, slot, s, panel, first, row, to, 1)
    for panel in range(panels):
        first = panel_start(layer, panel)
        to = base + first * CAPACITY * size
        if panel < layer.wide:
            finish_panel(FOUR, one, head, layer, slot, group, start, steps, panel, first, to)
        else:
            finish_panel(ONE, one, head, layer, slot, group, start, steps, panel, first, to)


@part
def forward_layer(
    one: float, head: Head, below: Layer, layer: Layer, begin: int, groups: int, start: int, steps: int
) -> None:
    """A hidden layer for a block of groups; panels outermost, so that weights are read from the cache."""
    if layer.recurrent != 0:
        for slot in range(groups):
            here = group_steps(head, begin + slot, start, steps)
            if here > 0:
                forward_recurrent(one, head, below, layer, slot, begin + slot, start, here)
    else:
        for panel in range(layer.panels):
            first = panel_start(layer, panel)
            for slot in range(groups):
                here = group_steps(head, begin + slot, start, steps)
                if here == 0:
                    continue
                if panel < layer.wide:
                    forward_panel(
                        FOUR, one, head, below, layer, slot, begin + slot, start, here, panel, first
                    )
                else:
                    forward_panel(ONE, one, head, below, layer, slot, begin + slot, start, here, panel, first)
    for slot in range(groups):
        here = group_steps(head, begin + slot, start, steps)
        if here > 0:
            list_layer(head, layer, slot, begin + slot, here)
