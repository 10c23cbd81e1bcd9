"""One training sequence as a few loops over spikes: forward, errors, learning signals, gradients.

The order of work is for the caches. A group is a few samples over a chunk of time, at most 128 rows; a panel
is 64 neurons. Groups are processed one panel at a time, so that its 32 KiB stay in the first cache while
weights and gradients stream past once per group. Spikes are listed twice: row by row, so that a row's weights
are summed in registers, and by pre-synaptic neuron, so that a row of the gradient collects what it needs.
"""

# pyright: basic, reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false, reportGeneralTypeIssues=false
from neurofdfa.events import simd
from neurofdfa.events.compiled import part
from neurofdfa.events.fields import (
    ALPHA,
    BETA,
    BIAS,
    CAPACITY,
    FEEDBACK,
    FIRED,
    FLAGS,
    HEIGHT,
    INPUT,
    INPUT_KIND,
    INPUT_SAMPLE,
    INPUT_STEP,
    INVERSE_WIDTH,
    KEPT,
    KIND,
    LEARN,
    LOST,
    MEMBRANE,
    PANEL,
    PANELS,
    PSI,
    RECORD,
    RECURRENT,
    RECURRENT_DRIVE,
    SAMPLES,
    SCALE,
    SPIKES,
    STATE,
    STEP_COUNTS,
    THETA,
    WEIGHT,
    WIDE,
    WIDTH,
    ZEROS,
    N,
)  # fmt: skip
from neurofdfa.events.kernels.layout import (
    FOUR,
    ONE,
    deep_product,
    events_of,
    group_samples,
    panel_start,
    size_of,
    starts_of,
)
from neurofdfa.events.kernels.spikes import count_steps, list_layer, record_panel


@part
def drive_panel(lanes, one, head, table, floats, layer, slot, group, start, steps, first, to):
    """To ← W s (+ b) of one panel for all rows of a group."""
    size = size_of(one)
    pitch = len(lanes) * 16 * size
    samples = group_samples(head, group)
    base = table[layer, BIAS] + first * size if table[layer, BIAS] != 0 else head[ZEROS]
    weight = table[layer, WEIGHT] + first * table[layer - 1, N] * size
    below = layer - 1
    if below == 0 and head[INPUT_KIND] == 3:
        simd.copy_rows(lanes, one, (to, pitch, base, samples * steps))
        for s in range(samples):
            sample = group * head[SAMPLES] + s
            here = head[INPUT] + sample * head[INPUT_SAMPLE] + start * head[INPUT_STEP]
            line = to + s * steps * pitch
            deep_product(lanes, one, one, line, pitch, here, head[INPUT_STEP], weight, steps, table[0, N])
        return
    sum_rows(lanes, one, table, floats, below, slot, samples * steps, to, pitch, base, weight)


@part
def sum_rows(lanes, one, table, floats, below, slot, rows, to, pitch, base, weight):
    """To[row] ← base + Σ of the weight rows of its events."""
    scale, width = floats[below, SCALE], len(lanes) * 16 * size_of(one)
    events, starts = events_of(table, below, slot), starts_of(table, below, slot)
    begin = simd.load_i32(starts)
    for row in range(rows):
        end = simd.load_i32(starts + 4 * (row + 1))
        simd.row_sum(
            lanes, one, (scale, to + row * pitch, base, weight, width, events + 4 * begin, end - begin)
        )
        begin = end


@part
def shape_panel(lanes, one, table, floats, layer, to, source, rows, zeros):
    """ψ of a panel's membranes."""
    kind, pitch = table[layer, KIND], len(lanes) * 16 * size_of(one)
    theta, inverse, height = floats[layer, THETA], floats[layer, INVERSE_WIDTH], floats[layer, HEIGHT]
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
def step_panel(lanes, one, head, table, floats, layer, slot, s, panel, first, drive, words, steps):
    """Advance one panel of neurons of one sample by `steps` steps."""
    size = size_of(one)
    place = slot * head[SAMPLES] + s
    state = table[layer, STATE] + (place * table[layer, WIDTH] + first) * 2 * size
    fired = table[layer, FIRED] + (place * table[layer, PANELS] + panel) * 8
    p = floats[layer]
    simd.lif(
        lanes, one,
        (p[ALPHA], p[BETA], p[KEPT], p[LOST], p[THETA], drive, len(lanes) * 16 * size, words, steps, state,
         fired),
    )  # fmt: skip


@part
def finish_panel(lanes, one, head, table, floats, layer, slot, group, start, steps, panel, first, drive):
    """After a panel's membranes are known: ψ, counts, recordings."""
    size = size_of(one)
    pitch = len(lanes) * 16 * size
    samples = group_samples(head, group)
    words = table[layer, SPIKES] + (slot * table[layer, PANELS] + panel) * CAPACITY * 8
    if head[LEARN] != 0 and table[layer, FEEDBACK] != 0:
        psi = table[layer, PSI] + (slot * table[layer, WIDTH] + first) * CAPACITY * size
        zeros = head[FLAGS] + 8 * (33 + layer)
        shape_panel(lanes, one, table, floats, layer, psi, drive, samples * steps, zeros)
    for s in range(samples):
        these = words + 8 * s * steps
        if table[layer, STEP_COUNTS] != 0:
            count_steps(table, layer, these, first, steps)
        if table[layer, RECORD] != 0 or table[layer, MEMBRANE] != 0:
            sample = group * head[SAMPLES] + s
            record_panel(
                lanes, one, head, table, layer, sample, start, steps, first, these, drive + s * steps * pitch
            )


@part
def forward_panel(lanes, one, head, table, floats, layer, slot, group, start, steps, panel, first):
    """One panel of a feed-forward layer: synapses, neurons, ψ and lists."""
    size = size_of(one)
    drive = head[PANEL]
    pitch = len(lanes) * 16 * size
    drive_panel(lanes, one, head, table, floats, layer, slot, group, start, steps, first, drive)
    words = table[layer, SPIKES] + (slot * table[layer, PANELS] + panel) * CAPACITY * 8
    for s in range(group_samples(head, group)):
        step_panel(
            lanes, one, head, table, floats, layer, slot, s, panel, first, drive + s * steps * pitch,
            words + 8 * s * steps, steps,
        )  # fmt: skip
    finish_panel(lanes, one, head, table, floats, layer, slot, group, start, steps, panel, first, drive)


@part
def forward_recurrent(one, head, table, floats, layer, slot, group, start, steps):
    """A recurrent layer: input of all panels at once, then step by step with the layer's own spikes."""
    size = size_of(one)
    base, panels = head[RECURRENT_DRIVE], table[layer, PANELS]
    own_weight, n = table[layer, RECURRENT], table[layer, N]
    for panel in range(panels):
        first = panel_start(layer, table, panel)
        to = base + first * CAPACITY * size
        if panel < table[layer, WIDE]:
            drive_panel(FOUR, one, head, table, floats, layer, slot, group, start, steps, first, to)
        else:
            drive_panel(ONE, one, head, table, floats, layer, slot, group, start, steps, first, to)
    for s in range(group_samples(head, group)):
        for t in range(steps):
            row = s * steps + t
            for source in range(panels):
                own = table[layer, SPIKES] + ((slot * panels + source) * CAPACITY + row - 1) * 8
                if t == 0:
                    own = table[layer, FIRED] + ((slot * head[SAMPLES] + s) * panels + source) * 8
                bits, begin = simd.load_i64(own), panel_start(layer, table, source)
                while bits != 0:
                    c = begin + simd.lowest(bits)
                    bits &= bits - 1
                    if c >= table[layer, N]:
                        continue
                    for panel in range(panels):
                        first = panel_start(layer, table, panel)
                        to = base + first * CAPACITY * size
                        if panel < table[layer, WIDE]:
                            heard = own_weight + (first * n + c * 64) * size
                            simd.add_row(FOUR, one, (to + row * 64 * size, heard, 1))
                        else:
                            heard = own_weight + (first * n + c * 16) * size
                            simd.add_row(ONE, one, (to + row * 16 * size, heard, 1))
            for panel in range(panels):
                first = panel_start(layer, table, panel)
                to = base + first * CAPACITY * size
                words = table[layer, SPIKES] + ((slot * panels + panel) * CAPACITY + row) * 8
                if panel < table[layer, WIDE]:
                    step_panel(
                        FOUR, one, head, table, floats, layer, slot, s, panel, first, to + row * 64 * size,
                        words, 1,
                    )  # fmt: skip
                else:
                    step_panel(
                        ONE, one, head, table, floats, layer, slot, s, panel, first, to + row * 16 * size,
                        words, 1,
                    )  # fmt: skip
    for panel in range(panels):
        first = panel_start(layer, table, panel)
        to = base + first * CAPACITY * size
        if panel < table[layer, WIDE]:
            finish_panel(FOUR, one, head, table, floats, layer, slot, group, start, steps, panel, first, to)
        else:
            finish_panel(ONE, one, head, table, floats, layer, slot, group, start, steps, panel, first, to)


@part
def forward_layer(one, head, table, floats, layer, begin, groups, start, steps):
    """A hidden layer for a block of groups; panels outermost, so that weights are read from the cache."""
    if table[layer, RECURRENT] != 0:
        for slot in range(groups):
            forward_recurrent(one, head, table, floats, layer, slot, begin + slot, start, steps)
    else:
        for panel in range(table[layer, PANELS]):
            first = panel_start(layer, table, panel)
            for slot in range(groups):
                if panel < table[layer, WIDE]:
                    forward_panel(
                        FOUR, one, head, table, floats, layer, slot, begin + slot, start, steps, panel, first
                    )
                else:
                    forward_panel(
                        ONE, one, head, table, floats, layer, slot, begin + slot, start, steps, panel, first
                    )
    for slot in range(groups):
        list_layer(head, table, layer, slot, begin + slot, steps)
