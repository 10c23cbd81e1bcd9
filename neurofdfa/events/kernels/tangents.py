"""Forward derivatives along probes, and what they say about the feedback."""

# pyright: basic, reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false, reportGeneralTypeIssues=false
from neurofdfa.events import simd
from neurofdfa.events.compiled import part
from neurofdfa.events.fields import (
    ALPHA,
    BETA,
    BY_ERROR,
    CAPACITY,
    ERRORS,
    EVERY,
    FEEDBACK_GRADIENT,
    FIRED_PITCH,
    FIRST,
    GAIN,
    GAIN_PITCH,
    GIVEN,
    HARD,
    IMAGE,
    KAPPA,
    KPAD,
    LAYERS,
    NOISE,
    NOISE_DECAYS,
    NOISE_STATE,
    OBSERVE_OUTPUT,
    OBSERVED,
    OUTPUTS,
    PANELS,
    PROBE,
    PROBE_WEIGHTS,
    PROBED,
    PSI,
    RECURRENT,
    RELEVANCE,
    SAMPLES,
    SEED,
    SEEN,
    SPIKES,
    STAGES,
    STEPS,
    TANGENT_A,
    TANGENT_B,
    TANGENT_OUTPUT_STATE,
    TANGENT_RECURRENT,
    TANGENT_SENT,
    TANGENT_STATE,
    TOP,
    TOTAL,
    WEIGHT,
    WEIGHTED,
    WIDE,
    WIDTH,
    N,
)  # fmt: skip
from neurofdfa.events.kernels.convolution import tangent_tiles
from neurofdfa.events.kernels.layout import FOUR, ONE, deep_product, group_samples, panel_start, size_of


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
    offset = first * size
    if layer == 1:
        simd.fill(lanes, one, (one * 0, to + offset, width, rows))
    else:
        weight = table[layer, WEIGHT] + first * table[layer - 1, N] * size
        deep_product(
            lanes, one, one * 0, to + offset, width, source, below, weight, rows, table[layer - 1, N]
        )


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
    if table[layer, IMAGE] != 0:
        tangent_tiles(one, head, table, layer, to, source, probed * steps)
    for panel in range(panels if table[layer, IMAGE] == 0 else 0):
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
def weigh(one, head, slot, rows):
    """Let observed tangents count by the squared error of their output; sum these."""
    size, kpad = size_of(one), head[KPAD]
    errors = head[ERRORS] + slot * CAPACITY * kpad * size
    for c in range(head[OUTPUTS]):
        relevance, seen = simd.load_f64(head[RELEVANCE] + 8 * c), simd.load_f64(head[SEEN] + 8 * c)
        for row in range(rows):
            offset = (row * kpad + c) * size
            error = simd.load_float(one, errors + offset)
            power = error * error
            seen += power
            if relevance >= 0.0:
                place = head[OBSERVED] + offset
                simd.store_float(one, place, one * (relevance * power * simd.load_float(one, place)))
        simd.store_f64(head[SEEN] + 8 * c, seen)


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
    for layer in range(1, head[TOP] + 1):
        if layer <= last:
            draw_probes(one, head, table, layer, group, probed, start, steps)
        else:
            to = head[OBSERVED]  # of a spiking readout
        if layer == 1 and (table[layer, RECURRENT] == 0 or head[TANGENT_RECURRENT] == 0):
            source = table[layer, PROBE]  # nothing below moves: what is sent is the probe itself
        else:
            words = fired + (layer - 1) * head[SAMPLES] * head[FIRED_PITCH]
            tangent_layer(one, head, table, floats, layer, slot, group, probed, steps, to, source, words)
            source, to, free = to, free, to
    pitch = kpad * size
    for first in range(0, kpad, 16):
        offset = first * size
        if head[TOP] == last:
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
    if head[BY_ERROR] != 0:
        weigh(one, head, slot, probed * steps)
    for layer in range(1, last + 1):
        correlate(one, head, table, layer, slot, probed, start, steps)
