"""Readout, errors, tangents, and the loop over blocks of samples and chunks of time."""

# pyright: basic, reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false, reportGeneralTypeIssues=false
import math

from neurofdfa.engine import simd
from neurofdfa.engine.compiled import jit, part
from neurofdfa.engine.fields import (
    ALPHA,
    BATCH,
    BETA,
    BIAS,
    CAPACITY,
    CHUNK,
    CORRECT,
    COUNTS,
    ERRORS,
    EVERY,
    FEEDBACK,
    FEEDBACK_GRADIENT,
    FIRED,
    FIRST,
    GAIN,
    GAIN_PITCH,
    GIVEN,
    HARD,
    INPUT_KIND,
    KAPPA,
    KPAD,
    LAYERS,
    LEARN,
    LISTS,
    LOSS,
    LOSS_FROM,
    LOSS_SUM,
    MEAN_SCORE,
    NOISE,
    NOISE_DECAYS,
    NOISE_STATE,
    OBSERVE_OUTPUT,
    OBSERVED,
    OUTPUT,
    OUTPUT_STATE,
    OUTPUTS,
    OWN_COUNTS,
    OWN_LISTS,
    OWN_TRACES,
    PANELS,
    PLAIN_TRACES,
    PROBE,
    PROBE_WEIGHTS,
    PROBED,
    PSI,
    RECORD_Y,
    RECURRENT,
    SAMPLES,
    SCALE,
    SCORES,
    SCORES_FROM,
    SEED,
    SLOTS,
    SPIKES,
    STAGES,
    STEPS,
    TANGENT_A,
    TANGENT_B,
    TANGENT_OUTPUT_STATE,
    TANGENT_RECURRENT,
    TANGENT_SENT,
    TANGENT_STATE,
    TARGET,
    TARGET_KIND,
    TOTAL,
    TRACES,
    WEIGHT,
    WEIGHTED,
    WIDE,
    WIDTH,
    WRONG,
    ZEROED,
    ZEROED_BYTES,
    N,
)  # fmt: skip
from neurofdfa.engine.kernels import (
    FOUR,
    ONE,
    advance_dense,
    advance_traces,
    forward_layer,
    group_samples,
    learn_layer,
    learn_readout,
    panel_start,
    read_input,
    size_of,
)  # fmt: skip

WHOLE, CLEAR, FORWARD, LEARN_FROM = range(4)


@part
def forward_readout(one, head, table, floats, consts, slot, group, start, steps):
    """Y of all rows of a group, into the scratch OUTPUT."""
    size, kpad, layer = size_of(one), head[KPAD], head[LAYERS] + 1
    samples = group_samples(head, group)
    below, pitch = layer - 1, kpad * size
    lists = table[below, LISTS] + slot * table[below, WIDTH] * CAPACITY
    counts = table[below, COUNTS] + slot * table[below, WIDTH] * 4
    scale = floats[below, SCALE]
    for first in range(0, kpad, 16):
        to = head[OUTPUT] + first * size
        if table[layer, BIAS] != 0:
            simd.copy_rows(ONE, one, (to, pitch, table[layer, BIAS] + first * size, samples * steps))
        else:
            simd.fill(ONE, one, (one * 0, to, pitch, samples * steps))
        for c in range(table[below, N]):
            count = simd.load_i32(counts + 4 * c)
            weight = table[layer, WEIGHT] + (first * table[below, N] + c * 16) * size
            simd.scatter_add(ONE, one, (scale, to, pitch, weight, lists + c * CAPACITY, count))
        for s in range(samples):
            state = head[OUTPUT_STATE] + ((slot * head[SAMPLES] + s) * kpad + first) * size
            here = to + s * steps * pitch
            simd.forward_decay(ONE, one, (consts[KAPPA], here, here, pitch, steps, state))


@part
def cross_entropy(one, to, y, k, kpad, label, weight):
    """E = w (softmax(y) − onehot), returns the loss."""
    size = size_of(one)
    high = simd.load_float(one, y)
    for c in range(1, k):
        value = simd.load_float(one, y + c * size)
        high = value if value > high else high
    simd.exponentials(ONE, one, (high, to, y, kpad // 16))
    total = one * 0
    for c in range(k):
        total += simd.load_float(one, to + c * size)
    factor = weight / total
    for c in range(k):
        simd.store_float(one, to + c * size, simd.load_float(one, to + c * size) * factor)
    for c in range(k, kpad):
        simd.store_float(one, to + c * size, one * 0)
    place = to + label * size
    simd.store_float(one, place, simd.load_float(one, place) - weight)
    return math.log(total) + high - simd.load_float(one, y + label * size)


@part
def difference(one, head, consts, to, y, sample, t, weight):
    """E = w (y − target) for values or spike counts, returns the loss."""
    size, k, kpad, kind = size_of(one), head[OUTPUTS], head[KPAD], head[TARGET_KIND]
    total = one * 0
    for c in range(kpad):
        value = one * 0
        if c < k:
            if kind == 0:
                hit = simd.load_i64(head[TARGET] + 8 * sample) == c
                goal = consts[CORRECT] if hit else consts[WRONG]
                value = one * (simd.load_float(one, y + c * size) - goal)
            else:
                line = sample if kind == 1 else t * head[BATCH] + sample
                goal = simd.load_float(one, head[TARGET] + (line * k + c) * size)
                value = simd.load_float(one, y + c * size) - goal
        total += value * value
        simd.store_float(one, to + c * size, weight * value)
    return 0.5 * total


@part
def read_out(one, head, consts, slot, group, start, steps):
    """Scores, losses and errors from y."""
    size, k, kpad = size_of(one), head[OUTPUTS], head[KPAD]
    samples, learn = group_samples(head, group), head[LEARN]
    loss = 0.0
    for s in range(samples):
        sample = group * head[SAMPLES] + s
        score = head[SCORES] + sample * kpad * size
        for t in range(steps):
            y = head[OUTPUT] + (s * steps + t) * kpad * size
            now = start + t
            for c in range(k if now >= head[SCORES_FROM] else 0):
                value = simd.load_float(one, y + c * size)
                if head[MEAN_SCORE] != 0:
                    value += simd.load_float(one, score + c * size)
                simd.store_float(one, score + c * size, value)
            if head[RECORD_Y] != 0:
                line = head[RECORD_Y] + (now * head[BATCH] + sample) * k * size
                for c in range(k):
                    simd.store_float(one, line + c * size, simd.load_float(one, y + c * size))
            if learn == 0:
                continue
            part = 1.0 / (head[STEPS] - head[LOSS_FROM]) if now >= head[LOSS_FROM] else 0.0
            weight = one * (part / head[BATCH])
            to = head[ERRORS] + (slot * CAPACITY + s * steps + t) * kpad * size
            if part == 0.0:
                for c in range(kpad):
                    simd.store_float(one, to + c * size, one * 0)
            elif head[LOSS] == 0:
                label = simd.load_i64(head[TARGET] + 8 * sample)
                loss += part * cross_entropy(one, to, y, k, kpad, label, simd.cast(one, weight))
            else:
                loss += part * difference(one, head, consts, to, y, sample, now, simd.cast(one, weight))
    simd.store_f64(head[LOSS_SUM], simd.load_f64(head[LOSS_SUM]) + loss / head[BATCH])


@part
def mix(x):
    """Sixty-four bits from a counter (the finaliser of splitmix64, Steele et al. 2014)."""
    x = (x ^ simd.shift_right(x, 30)) * -4658895280553007687
    x = (x ^ simd.shift_right(x, 27)) * -7723592293110705685
    return x ^ simd.shift_right(x, 31)


@part
def draw_probes(one, head, table, layer, group, probed, start, steps):
    """V of a layer: signs from a counter-based generator, or the values handed in."""
    size, width = size_of(one), table[layer, WIDTH]
    for s in range(probed):
        sample = group * head[SAMPLES] + s
        for t in range(steps):
            to = table[layer, PROBE] + (s * steps + t) * width * size
            if table[layer, GIVEN] != 0:
                line = ((start + t) * head[PROBED] + sample) * table[layer, N]
                for c in range(table[layer, N]):
                    value = simd.load_float(one, table[layer, GIVEN] + (line + c) * size)
                    simd.store_float(one, to + c * size, value)
                continue
            at = (start + t) * head[TOTAL] + head[FIRST] + head[EVERY] * sample
            counter = (at * (head[LAYERS] + 1) + layer) * 4096
            for panel in range(table[layer, PANELS]):
                bits = mix(mix((counter + panel) * -7046029254386353131 + head[SEED]))
                place = to + panel_start(layer, table, panel) * size
                if panel < table[layer, WIDE]:
                    simd.signs(FOUR, one, (place, bits))
                else:
                    simd.signs(ONE, one, (place, bits))


@part
def tangent_panel(
    lanes, one, head, table, floats, layer, slot, group, s, panel, first, to, row, steps, before
):
    """Scan one panel of one sample's tangents; before: address of the spikes before the first row."""
    size = size_of(one)
    width, p = table[layer, WIDTH], floats[layer]
    offset = first * size
    place = slot * head[SAMPLES] + s
    psi = table[layer, PSI] + (slot * width + first) * CAPACITY * size
    words = table[layer, SPIKES] + ((slot * table[layer, PANELS] + panel) * CAPACITY + row) * 8
    sample = group * head[SAMPLES] + s
    simd.tangent(
        lanes, one,
        (p[ALPHA], p[BETA], p[HARD], to + row * width * size + offset, width * size,
         psi + row * len(lanes) * 16 * size, words, before,
         table[layer, GAIN] + sample * table[layer, GAIN_PITCH] + offset,
         table[layer, PROBE] + row * width * size + offset, to + row * width * size + offset, steps,
         table[layer, TANGENT_STATE] + (place * width + first) * 2 * size),
    )  # fmt: skip


@part
def tangent_drive(lanes, one, table, layer, first, to, source, rows):
    """to[row] ← W ẋ of one panel."""
    size = size_of(one)
    width, below = table[layer, WIDTH] * size, table[layer - 1, WIDTH] * size
    offset, pitch = first * size, len(lanes) * 16 * size
    if layer == 1:
        simd.fill(lanes, one, (one * 0, to + offset, width, rows))
    else:
        simd.product(
            lanes, one,
            (one * 0, to + offset, width, source, below, size,
             table[layer, WEIGHT] + first * table[layer - 1, N] * size, pitch, rows,
             table[layer - 1, N]),
        )  # fmt: skip


@part
def tangent_own(lanes, one, table, layer, first, to, sent, row):
    """to[row] += V ẋ⁻ of one panel of a recurrent layer."""
    size = size_of(one)
    width, offset = table[layer, WIDTH] * size, first * size
    simd.product(
        lanes, one,
        (one, to + row * width + offset, width, sent, width, size,
         table[layer, RECURRENT] + first * table[layer, N] * size, len(lanes) * 16 * size, 1,
         table[layer, N]),
    )  # fmt: skip


@part
def tangent_layer(one, head, table, floats, layer, slot, group, probed, steps, to, source, fired):
    """ẋ of one hidden layer; `fired` holds the words of spikes before the chunk."""
    size, panels, width = size_of(one), table[layer, PANELS], table[layer, WIDTH]
    for panel in range(panels):
        first = panel_start(layer, table, panel)
        if panel < table[layer, WIDE]:
            tangent_drive(FOUR, one, table, layer, first, to, source, probed * steps)
        else:
            tangent_drive(ONE, one, table, layer, first, to, source, probed * steps)
    own = table[layer, RECURRENT] != 0 and head[TANGENT_RECURRENT] != 0
    for s in range(probed):
        kept = table[layer, TANGENT_SENT] + (slot * head[SAMPLES] + s) * width * size
        stride = 1 if own else steps
        for t in range(0, steps, stride):
            row = s * steps + t
            for panel in range(panels):
                first = panel_start(layer, table, panel)
                before = table[layer, SPIKES] + ((slot * panels + panel) * CAPACITY + row - 1) * 8
                if t == 0:
                    before = fired + (s * panels + panel) * 8
                sent = to + (row - 1) * width * size if t > 0 else kept
                if panel < table[layer, WIDE]:
                    if own:
                        tangent_own(FOUR, one, table, layer, first, to, sent, row)
                    tangent_panel(
                        FOUR, one, head, table, floats, layer, slot, group, s, panel, first, to, row, stride,
                        before,
                    )  # fmt: skip
                else:
                    if own:
                        tangent_own(ONE, one, table, layer, first, to, sent, row)
                    tangent_panel(
                        ONE, one, head, table, floats, layer, slot, group, s, panel, first, to, row, stride,
                        before,
                    )  # fmt: skip
        last = to + ((s + 1) * steps - 1) * width * size
        for c in range(width):
            simd.store_float(one, kept + c * size, simd.load_float(one, last + c * size))


@part
def correlate_panel(lanes, one, head, table, layer, first, noise, rows):
    """Σ Ĵ of one panel."""
    size, k = size_of(one), head[OUTPUTS]
    simd.product(
        lanes, one,
        (one, table[layer, FEEDBACK_GRADIENT] + first * k * size, len(lanes) * 16 * size, head[WEIGHTED],
        size,
         head[KPAD] * size, noise + first * size, table[layer, WIDTH] * size, k, rows),
    )  # fmt: skip


@part
def correlate(one, head, table, layer, slot, probed, start, steps):
    """Σ Ĵ of one layer: observed tangents of the outputs times the noise trace."""
    size, width, kpad = size_of(one), table[layer, WIDTH], head[KPAD]
    source = table[layer, PROBE]
    for stage in range(table[layer, STAGES]):
        decay = one * simd.load_f64(head[NOISE_DECAYS] + ((layer - 1) * 16 + stage) * 8)
        for s in range(probed):
            place = (slot * head[SAMPLES] + s) * table[layer, STAGES] + stage
            for first in range(0, width, 16):
                offset = (s * steps * width + first) * size
                state = table[layer, NOISE_STATE] + (place * width + first) * size
                simd.forward_decay(
                    ONE, one, (decay, head[NOISE] + offset, source + offset, width * size, steps, state)
                )
        source = head[NOISE]
    for s in range(probed):
        for t in range(steps):
            weight = one * simd.load_f64(head[PROBE_WEIGHTS] + ((layer - 1) * head[STEPS] + start + t) * 8)
            line = (s * steps + t) * kpad * size
            for c in range(kpad):
                value = weight * simd.load_float(one, head[OBSERVED] + line + c * size)
                simd.store_float(one, head[WEIGHTED] + line + c * size, value)
    for panel in range(table[layer, PANELS]):
        first = panel_start(layer, table, panel)
        if panel < table[layer, WIDE]:
            correlate_panel(FOUR, one, head, table, layer, first, source, probed * steps)
        else:
            correlate_panel(ONE, one, head, table, layer, first, source, probed * steps)


@part
def tangents(one, head, table, floats, consts, slot, group, start, steps, fired):
    """Probe the first samples of the batch: forward derivatives and the estimate of every feedback."""
    size, last, kpad = size_of(one), head[LAYERS], head[KPAD]
    probed = head[PROBED] - group * head[SAMPLES]
    samples = group_samples(head, group)
    probed = probed if probed < samples else samples
    if probed <= 0:
        return
    source, to, free = head[TANGENT_A], head[TANGENT_A], head[TANGENT_B]
    for layer in range(1, last + 1):
        draw_probes(one, head, table, layer, group, probed, start, steps)
        if layer == 1 and (table[layer, RECURRENT] == 0 or head[TANGENT_RECURRENT] == 0):
            source = table[layer, PROBE]  # nothing below moves: what is sent is the probe itself
        else:
            words = fired + (layer - 1) * head[SAMPLES] * 1024
            tangent_layer(one, head, table, floats, layer, slot, group, probed, steps, to, source, words)
            source, to, free = to, free, to
    pitch = kpad * size
    for first in range(0, kpad, 16):
        offset = first * size
        simd.product(
            ONE, one,
            (one * 0, head[OBSERVED] + offset, pitch, source, table[last, WIDTH] * size, size,
             table[last + 1, WEIGHT] + first * table[last, N] * size, 16 * size, probed * steps,
             table[last, N]),
        )  # fmt: skip
        if head[OBSERVE_OUTPUT] != 0:
            for s in range(probed):
                here = head[OBSERVED] + offset + s * steps * pitch
                state = head[TANGENT_OUTPUT_STATE] + (slot * head[SAMPLES] + s) * pitch + offset
                simd.forward_decay(ONE, one, (consts[KAPPA], here, here, pitch, steps, state))
    for layer in range(1, last + 1):
        correlate(one, head, table, layer, slot, probed, start, steps)


@part
def keep_traces(one, head, table, floats, slot, group, start, steps):
    """Advance every trace to the end of the chunk."""
    size, last = size_of(one), head[LAYERS]
    samples, place = group_samples(head, group), slot * head[SAMPLES]
    for layer in range(1, last + 2):
        below = layer - 1
        lists = table[below, LISTS] + slot * table[below, WIDTH] * CAPACITY
        counts = table[below, COUNTS] + slot * table[below, WIDTH] * 4
        scale = floats[below, SCALE]
        if layer <= last and table[layer, TRACES] != 0:
            traces = table[layer, TRACES] + place * 3 * table[below, WIDTH] * size
            if below == 0 and head[INPUT_KIND] == 3:
                advance_dense(one, head, table, floats, traces, layer, group, samples, start, steps)
            else:
                advance_traces(
                    one, head, table, traces, layer, below, 3, lists, counts, scale, samples, steps, 0, 0
                )
        if layer <= last and table[layer, OWN_TRACES] != 0:
            traces = table[layer, OWN_TRACES] + place * 4 * table[layer, WIDTH] * size
            own = table[layer, OWN_LISTS] + slot * table[layer, WIDTH] * CAPACITY
            own_counts = table[layer, OWN_COUNTS] + slot * table[layer, WIDTH] * 4
            words = table[layer, FIRED] + place * table[layer, PANELS] * 8
            advance_traces(
                one, head, table, traces, layer, layer, 3, own, own_counts, 1.0, samples, steps, 1, words
            )
        if below >= 1 and table[below, PLAIN_TRACES] != 0:
            traces = table[below, PLAIN_TRACES] + place * table[below, WIDTH] * size
            advance_traces(
                one, head, table, traces, last + 1, below, 1, lists, counts, scale, samples, steps, 0, 0
            )


@part
def forward_block(one, head, table, floats, consts, fired, begin, groups, start, steps):
    """One chunk of a block of groups, up to errors and tangents."""
    last = head[LAYERS]
    if head[INPUT_KIND] != 3:
        for slot in range(groups):
            read_input(one, head, table, begin + slot, slot, start, steps)
    probing = head[PROBED] > begin * head[SAMPLES]
    if probing:  # the tangents need the spikes that the chunk began with
        for layer in range(1, last + 1):
            panels = table[layer, PANELS]
            for place in range(groups * head[SAMPLES]):
                for panel in range(panels):
                    word = simd.load_i64(table[layer, FIRED] + (place * panels + panel) * 8)
                    slot = place // head[SAMPLES]
                    s = place - slot * head[SAMPLES]
                    offset = (slot * last + layer - 1) * head[SAMPLES] * 1024
                    simd.store_i64(fired + offset + (s * panels + panel) * 8, word)
    for layer in range(1, last + 1):
        forward_layer(one, head, table, floats, layer, begin, groups, start, steps)
    for slot in range(groups):
        forward_readout(one, head, table, floats, consts, slot, begin + slot, start, steps)
        read_out(one, head, consts, slot, begin + slot, start, steps)
        if probing:
            words = fired + slot * last * head[SAMPLES] * 1024
            tangents(one, head, table, floats, consts, slot, begin + slot, start, steps, words)


@part
def learn_block(one, head, table, floats, consts, begin, groups, start, steps):
    """Gradients of one chunk of a block of groups."""
    for layer in range(1, head[LAYERS] + 1):
        if table[layer, FEEDBACK] != 0:
            learn_layer(one, head, table, floats, consts, layer, begin, groups, start, steps)
    for slot in range(groups):
        learn_readout(one, head, table, floats, consts, slot, begin + slot, start, steps)
        if start + steps < head[STEPS]:
            keep_traces(one, head, table, floats, slot, begin + slot, start, steps)


@part
def clear(head):
    """States at the start of a sequence."""
    for offset in range(0, head[ZEROED_BYTES], 8):
        simd.store_i64(head[ZEROED] + offset, 0)


@jit
def run_range(one, head, table, floats, consts, fired, first, last, task, start, steps):
    """The groups first ≤ group < last, block after block, in whole sequences (task 0).

    Or one part of that for all of them at once: clear the states, run a chunk forward, learn from it.
    One entry point: machine code of several would be compiled several times over.
    """
    if task == CLEAR:
        clear(head)
        return
    begin = first
    while begin < last:
        groups = last - begin if last - begin < head[SLOTS] else head[SLOTS]
        if task == WHOLE:
            clear(head)
        now = start
        while now < start + steps:
            left = start + steps - now
            length = left if left < head[CHUNK] else head[CHUNK]
            if task != LEARN_FROM:
                forward_block(one, head, table, floats, consts, fired, begin, groups, now, length)
            if task == LEARN_FROM or (task == WHOLE and head[LEARN] != 0):
                learn_block(one, head, table, floats, consts, begin, groups, now, length)
            now += length
        begin += groups
