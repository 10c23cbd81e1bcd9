"""Learning signals, errors filtered against time, gradients row by row."""

# pyright: basic, reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false, reportGeneralTypeIssues=false
from neurofdfa.events import simd
from neurofdfa.events.compiled import part
from neurofdfa.events.fields import (
    ALPHA,
    BETA,
    BIAS,
    BIAS_GRADIENT,
    CAPACITY,
    CARRY,
    CHUNK,
    CHUNKS,
    DKP,
    DOWNSTREAM,
    ERRORS,
    EXTRA,
    EXTRA_PITCH,
    FEEDBACK,
    FEEDBACK_GRADIENT,
    FILTERED,
    FILTERED_ERRORS,
    GAIN,
    GAIN_PITCH,
    GRADIENT,
    HEARD,
    INPUT,
    INPUT_KIND,
    INPUT_SAMPLE,
    INPUT_STEP,
    KAPPA,
    KPAD,
    LAYERS,
    LISTS,
    ONES,
    OUTPUTS,
    OWN_LISTS,
    OWN_TALLY,
    OWN_TRACES,
    PANEL,
    PANELS,
    PLAIN_TRACES,
    PSI,
    RECURRENT,
    RECURRENT_GRADIENT,
    SAMPLES,
    SCALE,
    TALLY,
    TOP,
    TRACE_KAPPA,
    TRACES,
    WHOLE_TRACE,
    WIDE,
    WIDTH,
    N,
)  # fmt: skip
from neurofdfa.events.kernels.layout import FOUR, ONE, group_samples, panel_start, size_of
from neurofdfa.events.kernels.lists import sum_over_spikes


@part
def filter_errors(one, head, floats, consts, layer, slot, group, steps):
    """Errors of a whole sequence as a trace per synapse meets them, from the last layer down.

    Σ_t λ_t Σ_{τ ≤ t} f(t − τ) ψ_τ ε_τ is Σ_τ ψ_τ ε_τ B Σ_{t ≥ τ} f(t − τ) e_t: as B is the same in all steps,
    the readout's κ and what filters downstream may act on the few errors in place of the traces.
    """
    size, kpad = size_of(one), head[KPAD]
    offset = slot * CAPACITY * kpad * size
    to, top = head[FILTERED_ERRORS] + offset, layer == head[TOP]
    told = head[ERRORS] if layer > head[LAYERS] else head[HEARD]
    fresh = top or (layer == head[LAYERS] and told != head[ERRORS])
    for s in range(group_samples(head, group)):
        for first in range(0, kpad, 16):
            here = to + (s * steps * kpad + first) * size
            pitch, carry = kpad * size, head[CARRY]
            if fresh:
                source = told + offset + (s * steps * kpad + first) * size
                simd.backward_decay(ONE, one, (consts[KAPPA], here, source, pitch, steps, carry))
            if not top and head[DOWNSTREAM] != 0:
                p = floats[layer + 1]
                simd.backward_decay(ONE, one, (p[BETA], here, here, pitch, steps, carry))
                simd.backward_decay(ONE, one, (p[ALPHA], here, here, pitch, steps, carry))
    if not top and head[DOWNSTREAM] != 0:
        gain = one * ((1.0 - floats[layer + 1, BETA]) * (1.0 - floats[layer + 1, ALPHA]))
        for k in range(group_samples(head, group) * steps * kpad):
            place = to + k * size
            simd.store_float(one, place, gain * simd.load_float(one, place))


@part
def panel_errors(lanes, one, head, table, floats, layer, slot, group, steps, first):
    """Learning signals of one panel, filtered against time, into the scratch PANEL; the bias learns."""
    size = size_of(one)
    pitch = len(lanes) * 16 * size
    samples, kpad, k = group_samples(head, group), head[KPAD], head[OUTPUTS]
    rows, errors = samples * steps, head[PANEL]
    broadcast = head[ERRORS] if layer > head[LAYERS] else head[HEARD]
    if head[WHOLE_TRACE] != 0:
        broadcast = head[FILTERED_ERRORS]
    broadcast += slot * CAPACITY * kpad * size
    simd.product(
        lanes, one,
        (one * 0, errors, pitch, broadcast, kpad * size, size, table[layer, FEEDBACK] + first * k * size,
        pitch,
         rows, k),
    )  # fmt: skip
    carry = head[CARRY]
    p = floats[layer]
    for s in range(samples):
        sample = group * head[SAMPLES] + s
        simd.reverse_filter(
            lanes, one,
            (p[TRACE_KAPPA], p[BETA], p[ALPHA], errors + s * steps * pitch, pitch,
             table[layer, PSI] + (slot * table[layer, WIDTH] + first) * CAPACITY * size + s * steps * pitch,
             table[layer, GAIN] + sample * table[layer, GAIN_PITCH] + first * size,
             table[layer, EXTRA] + first * size, table[layer, EXTRA_PITCH], steps, carry + s * 4 * pitch, 0),
        )  # fmt: skip
    if table[layer, BIAS] != 0:
        simd.column_sum(lanes, one, (table[layer, BIAS_GRADIENT] + first * size, errors, pitch, rows))


@part
def learn_panel(lanes, one, head, table, floats, consts, layer, slot, group, start, steps, first):
    """Errors and weight gradients of one panel."""
    panel_errors(lanes, one, head, table, floats, layer, slot, group, steps, first)
    size = size_of(one)
    pitch = len(lanes) * 16 * size
    samples, errors = group_samples(head, group), head[PANEL]
    rows, below = samples * steps, layer - 1
    to = table[layer, GRADIENT] + first * table[below, N] * size
    if below == 0 and head[INPUT_KIND] == 3:
        for s in range(samples):
            sample = group * head[SAMPLES] + s
            here = head[INPUT] + sample * head[INPUT_SAMPLE] + start * head[INPUT_STEP]
            simd.product(
                lanes, one,
                (one, to, pitch, here, size, head[INPUT_STEP], errors + s * steps * pitch, pitch,
                 table[0, N], steps),
            )  # fmt: skip
    else:
        sum_over_spikes(
            lanes, one, table, below, slot, table[below, LISTS], table[below, TALLY], rows,
            floats[below, SCALE], to, pitch, errors, pitch,
        )  # fmt: skip
    if table[layer, RECURRENT] != 0:
        to = table[layer, RECURRENT_GRADIENT] + first * table[layer, N] * size
        sum_over_spikes(  # a spike is heard one step later
            lanes, one, table, layer, slot, table[layer, OWN_LISTS], table[layer, OWN_TALLY], rows,
            1.0, to, pitch, errors + pitch, pitch,
        )  # fmt: skip
    if start > 0:
        carry_panel(lanes, one, head, table, floats, layer, slot, samples, start, first)


@part
def decay_carry(lanes, one, head, table, floats, layer, samples, start, first):
    """What the stages of the traces at the start of the chunk are multiplied with, in the scratch CARRY."""
    size = size_of(one)
    vectors = len(lanes) * 16
    pitch = vectors * size
    p = floats[layer]
    carry = head[CARRY]
    ones = head[ONES] + (layer * head[CHUNKS] + start // head[CHUNK]) * 24
    for s in range(samples):
        for stage in range(3):
            decay = p[TRACE_KAPPA] if stage == 0 else p[BETA] if stage == 1 else p[ALPHA]
            line = carry + (s * 4 + stage) * pitch
            for c in range(vectors):
                value = simd.load_float(one, line + c * size)
                if stage == 2:  # a spike still on its way to the recurrent synapses enters undecayed
                    simd.store_float(one, line + pitch + c * size, value)
                simd.store_float(one, line + c * size, value * decay)
                if table[layer, BIAS] != 0:
                    place = table[layer, BIAS_GRADIENT] + (first + c) * size
                    more = value * decay * simd.load_f64(ones + 8 * stage)
                    simd.store_float(one, place, simd.load_float(one, place) + more)


@part
def carry_panel(lanes, one, head, table, floats, layer, slot, samples, start, first):
    """What the traces at the start of the chunk add: one product per chunk."""
    decay_carry(lanes, one, head, table, floats, layer, samples, start, first)
    size, carry = size_of(one), head[CARRY]
    pitch = len(lanes) * 16 * size
    below = table[layer - 1, WIDTH]
    for s in range(samples):
        place = slot * head[SAMPLES] + s
        simd.product(
            lanes, one,
            (one, table[layer, GRADIENT] + first * table[layer - 1, N] * size, pitch,
             table[layer, TRACES] + place * 3 * below * size, size, below * size, carry + s * 4 * pitch,
             pitch,
             table[layer - 1, N], 3),
        )  # fmt: skip
        if table[layer, RECURRENT] != 0:
            own, own_n = table[layer, WIDTH], table[layer, N]
            simd.product(
                lanes, one,
                (one, table[layer, RECURRENT_GRADIENT] + first * own_n * size, pitch,
                 table[layer, OWN_TRACES] + place * 4 * own * size, size, own * size, carry + s * 4 * pitch,
                 pitch, table[layer, N], 4),
            )  # fmt: skip


@part
def learn_layer(one, head, table, floats, consts, layer, begin, groups, start, steps):
    """Gradients of a hidden layer for a block of groups."""
    for panel in range(table[layer, PANELS]):
        first = panel_start(layer, table, panel)
        for slot in range(groups):
            if panel < table[layer, WIDE]:
                learn_panel(
                    FOUR, one, head, table, floats, consts, layer, slot, begin + slot, start, steps, first
                )
            else:
                learn_panel(
                    ONE, one, head, table, floats, consts, layer, slot, begin + slot, start, steps, first
                )


@part
def learn_outer(one, head, table, floats, consts, layer, to, slot, group, start, steps):
    """Σ κ-filtered transmitted spikes of a layer ⊗ error: the readout's gradient, and DKP's."""
    size, kpad = size_of(one), head[KPAD]
    samples = group_samples(head, group)
    carry = head[CARRY]
    for first in range(0, kpad, 16):
        source = head[FILTERED] + first * size
        sum_over_spikes(
            ONE, one, table, layer, slot, table[layer, LISTS], table[layer, TALLY], samples * steps,
            floats[layer, SCALE], to + first * table[layer, N] * size, 16 * size, source, kpad * size,
        )  # fmt: skip
        if start > 0:
            for s in range(samples):
                place = slot * head[SAMPLES] + s
                for c in range(16):
                    value = simd.load_float(one, source + (s * steps * kpad + c) * size)
                    simd.store_float(one, carry + c * size, value * consts[KAPPA])
                simd.product(
                    ONE, one,
                    (one, to + first * table[layer, N] * size, 16 * size,
                     table[layer, PLAIN_TRACES] + place * table[layer, WIDTH] * size, size, 0, carry, 0,
                     table[layer, N], 1),
                )  # fmt: skip


@part
def learn_readout_bias(one, head, table, consts, samples, start, steps):
    """Σ of the κ-filtered errors, and what the trace of the constant 1 brings from earlier chunks."""
    size, kpad, layer = size_of(one), head[KPAD], head[LAYERS] + 1
    to = table[layer, BIAS_GRADIENT]
    for first in range(0, kpad, 16):
        source = head[FILTERED] + first * size
        simd.column_sum(ONE, one, (to + first * size, source, kpad * size, samples * steps))
    if start > 0:
        seen = simd.load_f64(head[ONES] + (layer * head[CHUNKS] + start // head[CHUNK]) * 24)
        for s in range(samples):
            for c in range(kpad):
                value = simd.load_float(one, head[FILTERED] + (s * steps * kpad + c) * size)
                place = to + c * size
                simd.store_float(one, place, simd.load_float(one, place) + value * consts[KAPPA] * seen)


@part
def learn_readout(one, head, table, floats, consts, slot, group, start, steps):
    """Gradients that need the κ-filtered error: of a readout without spikes, and of DKP's feedback."""
    size, kpad, last = size_of(one), head[KPAD], head[LAYERS]
    spiking = head[TOP] > last  # it learns like a hidden layer
    if spiking and head[DKP] == 0:
        return
    samples = group_samples(head, group)
    errors = head[ERRORS] + slot * CAPACITY * kpad * size
    for s in range(samples):
        for first in range(0, kpad, 16):
            offset = (s * steps * kpad + first) * size
            simd.backward_decay(
                ONE, one,
                (consts[KAPPA], head[FILTERED] + offset, errors + offset, kpad * size, steps, head[CARRY]),
            )  # fmt: skip
    if not spiking:
        if table[last + 1, BIAS_GRADIENT] != 0:
            learn_readout_bias(one, head, table, consts, samples, start, steps)
        to = table[last + 1, GRADIENT]
        learn_outer(one, head, table, floats, consts, last, to, slot, group, start, steps)
    if head[DKP] != 0:
        for layer in range(1, last + 1):
            learn_outer(
                one, head, table, floats, consts, layer, table[layer, FEEDBACK_GRADIENT], slot, group, start,
                steps,
            )  # fmt: skip
