"""Learning signals, errors filtered against time, gradients row by row."""

from neurofdfa.events import simd
from neurofdfa.events.compiled import part
from neurofdfa.events.kernels.eligibility import carry_exact
from neurofdfa.events.kernels.layout import (
    FOUR,
    ONE,
    group_samples,
    group_steps,
    membranes_of,
    own_steps,
    panel_of,
    panel_start,
    size_of,
)
from neurofdfa.events.kernels.lists import sum_over_spikes
from neurofdfa.events.records import CAPACITY, Head, Layer, Layers
from neurofdfa.events.simd.emit import Lanes


@part
def filter_errors(
    one: float, head: Head, layer: Layer, above: Layer, slot: int, group: int, steps: int
) -> None:
    """Errors of a chunk as a trace per synapse meets them, from the last chunk and the last layer down.

    Σ_t λ_t Σ_{τ ≤ t} f(t − τ) ψ_τ ε_τ is Σ_τ ψ_τ ε_τ B Σ_{t ≥ τ} f(t − τ) e_t: as B is the same in all steps,
    the readout's κ and what filters downstream may act on the few errors in place of the traces.
    """
    size, kpad = size_of(one), head.kpad
    offset = slot * CAPACITY * kpad * size
    to, top = head.filtered_errors + offset, layer.index == head.top
    told = head.errors if layer.index > head.hidden else head.heard
    fresh = top or (layer.index == head.hidden and told != head.errors)
    pitch = kpad * size
    for s in range(group_samples(head, group)):
        for first in range(0, kpad, 16):
            here = to + (s * steps * kpad + first) * size
            state = layer.error_states + ((slot * head.samples + s) * 3 * kpad + first) * size
            if head.backwards == 0:
                simd.fill(ONE, one, (one * 0, state, pitch, 3))
            if fresh:
                source = told + offset + (s * steps * kpad + first) * size
                simd.backward_decay(ONE, one, (head.error_kappa, here, source, pitch, steps, state))
            if not top and head.downstream != 0:
                simd.backward_decay(ONE, one, (above.beta, here, here, pitch, steps, state + pitch))
                simd.backward_decay(ONE, one, (above.alpha, here, here, pitch, steps, state + 2 * pitch))
    if not top and head.downstream != 0:
        gain = one * ((1.0 - above.beta) * (1.0 - above.alpha))
        for k in range(group_samples(head, group) * steps * kpad):
            place = to + k * size
            simd.store_float(one, place, gain * simd.load_float(one, place))


@part
def share_pull(
    lanes: Lanes, one: float, head: Head, layer: Layer, sample: int, start: int, steps: int, first: int
) -> None:
    """The rate target's pull on a sample that has a length of its own, into the scratch PULL: the end of what
    stands there for a whole sequence, for fewer steps.
    """
    size, all_steps = size_of(one), simd.load_i64(head.lengths + 24 * sample)
    source = layer.extra + first * size + (head.steps - all_steps + start) * layer.extra_pitch
    share, vectors = one / all_steps, len(lanes) * 16
    for t in range(own_steps(head, sample, start, steps)):
        for c in range(vectors):
            value = simd.load_float(one, source + c * size)
            simd.store_float(one, head.pull + (t * vectors + c) * size, value * share)
        source += layer.extra_pitch


@part
def panel_errors(
    lanes: Lanes,
    one: float,
    head: Head,
    layer: Layer,
    slot: int,
    group: int,
    start: int,
    steps: int,
    first: int,
) -> None:
    """Learning signals of one panel, filtered against time, into the scratch PANEL; the bias learns."""
    size = size_of(one)
    pitch = len(lanes) * 16 * size
    samples, kpad, k = group_samples(head, group), head.kpad, head.outputs
    rows, errors = samples * steps, head.panel
    broadcast = head.errors if layer.index > head.hidden else head.heard
    if head.exact != 0:
        broadcast = head.filtered_errors
    broadcast += slot * CAPACITY * kpad * size
    simd.product(
        lanes, one,
        (one * 0, errors, pitch, broadcast, kpad * size, size, layer.feedback + first * k * size,
        pitch,
         rows, k),
    )  # fmt: skip
    carry, width = head.carry, layer.width
    extra = layer.extra + first * size
    if head.backwards != 0:
        extra += start * layer.extra_pitch
    extra_pitch = layer.extra_pitch
    for s in range(samples):
        if head.pull != 0:
            extra, extra_pitch = head.pull, pitch
            share_pull(lanes, one, head, layer, group * head.samples + s, start, steps, first)
        here, place = errors + s * steps * pitch, slot * head.samples + s
        psi = layer.psi + (slot * width + first) * CAPACITY * size + s * steps * pitch
        gain = layer.gain + (group * head.samples + s) * layer.gain_pitch + first * size
        if head.exact == 0:
            simd.reverse_filter(
                lanes, one,
                (layer.trace_kappa, layer.beta, layer.alpha, here, pitch, psi, gain, extra, extra_pitch,
                 steps, carry + s * 4 * pitch, 0),
            )  # fmt: skip
        else:
            words = layer.spikes + (slot * layer.panels * CAPACITY + s * steps) * 8
            words += panel_of(layer, first) * CAPACITY * 8
            seen = psi
            if layer.general != 0:
                seen = membranes_of(one, layer, slot, first) + s * steps * pitch
            state = layer.reverse_states + (place * width + first) * 3 * size
            if head.backwards == 0:
                simd.fill(lanes, one, (one * 0, state, pitch, 3))
            simd.reverse_exact(
                lanes, one,
                (layer.hard, layer.reset, layer.through, layer.adaptation, layer.rho,
                 layer.alphas + first * size, layer.betas + first * size, here, pitch, psi, gain, extra,
                 extra_pitch, words, seen, steps, state),
            )  # fmt: skip
    if layer.bias != 0:
        simd.column_sum(lanes, one, (layer.bias_gradient + first * size, errors, pitch, rows))


@part
def learn_late_spikes(
    lanes: Lanes, one: float, head: Head, layer: Layer, slot: int, samples: int, steps: int, first: int
) -> None:
    """Spikes of the last step of a chunk, which recurrent synapses hear in the first step of the next one."""
    size, panels = size_of(one), layer.panels
    pitch = len(lanes) * 16 * size
    to = layer.recurrent_gradient + first * layer.n * size
    for s in range(samples):
        state = layer.reverse_states + ((slot * head.samples + s) * layer.width + first) * 3 * size
        for source in range(panels):
            row = (s + 1) * steps - 1
            bits = simd.load_i64(layer.spikes + ((slot * panels + source) * CAPACITY + row) * 8)
            begin = panel_start(layer, source)
            while bits != 0:
                c = begin + simd.lowest(bits)
                bits &= bits - 1
                if c < layer.n:
                    simd.add_row(lanes, one, (to + c * pitch, state + 2 * pitch, 1))


@part
def learn_panel(
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
) -> None:
    """Errors and weight gradients of one panel."""
    size = size_of(one)
    pitch = len(lanes) * 16 * size
    samples, errors = group_samples(head, group), head.panel
    if layer.recurrent != 0 and head.backwards != 0 and start + steps < head.steps:
        learn_late_spikes(lanes, one, head, layer, slot, samples, steps, first)
    panel_errors(lanes, one, head, layer, slot, group, start, steps, first)
    rows = samples * steps
    to = layer.gradient + first * below.n * size
    if layer.index == 1 and head.input_kind == 3:
        for s in range(samples):
            sample = group * head.samples + s
            here = head.input + sample * head.input_sample + start * head.input_step
            simd.product(
                lanes, one,
                (one, to, pitch, here, size, head.input_step, errors + s * steps * pitch, pitch,
                 below.n, steps),
            )  # fmt: skip
    else:
        sum_over_spikes(
            lanes, one, below, slot, below.lists, below.tally, rows,
            below.scale, to, pitch, errors, pitch,
        )  # fmt: skip
    if layer.recurrent != 0:
        to = layer.recurrent_gradient + first * layer.n * size
        sum_over_spikes(  # a spike is heard one step later
            lanes, one, layer, slot, layer.own_lists, layer.own_tally, rows,
            1.0, to, pitch, errors + pitch, pitch,
        )  # fmt: skip
    if head.exact == 0:
        if start > 0:
            carry_panel(lanes, one, head, below, layer, slot, samples, start, first)
    elif head.backwards == 0 and head.chunks > 1:
        carry_exact(lanes, one, head, below, layer, slot, group, start, steps, first)


@part
def decay_carry(
    lanes: Lanes, one: float, head: Head, layer: Layer, samples: int, start: int, first: int
) -> None:
    """What the stages of the traces at the start of the chunk are multiplied with, in the scratch CARRY."""
    size = size_of(one)
    vectors = len(lanes) * 16
    pitch = vectors * size
    carry = head.carry
    ones = head.ones + (layer.index * head.chunks + start // head.chunk) * 24
    for s in range(samples):
        for stage in range(3):
            decay = layer.trace_kappa if stage == 0 else layer.beta if stage == 1 else layer.alpha
            line = carry + (s * 4 + stage) * pitch
            for c in range(vectors):
                value = simd.load_float(one, line + c * size)
                if stage == 2:  # a spike still on its way to the recurrent synapses enters undecayed
                    simd.store_float(one, line + pitch + c * size, value)
                simd.store_float(one, line + c * size, value * decay)
                if layer.bias != 0:
                    place = layer.bias_gradient + (first + c) * size
                    more = value * decay * simd.load_f64(ones + 8 * stage)
                    simd.store_float(one, place, simd.load_float(one, place) + more)


@part
def carry_panel(
    lanes: Lanes,
    one: float,
    head: Head,
    below: Layer,
    layer: Layer,
    slot: int,
    samples: int,
    start: int,
    first: int,
) -> None:
    """What the traces at the start of the chunk add: one product per chunk."""
    decay_carry(lanes, one, head, layer, samples, start, first)
    size, carry = size_of(one), head.carry
    pitch = len(lanes) * 16 * size
    width = below.width
    for s in range(samples):
        place = slot * head.samples + s
        simd.product(
            lanes, one,
            (one, layer.gradient + first * below.n * size, pitch,
             layer.traces + place * 3 * width * size, size, width * size, carry + s * 4 * pitch,
             pitch,
             below.n, 3),
        )  # fmt: skip
        if layer.recurrent != 0:
            own, own_n = layer.width, layer.n
            simd.product(
                lanes, one,
                (one, layer.recurrent_gradient + first * own_n * size, pitch,
                 layer.own_traces + place * 4 * own * size, size, own * size, carry + s * 4 * pitch,
                 pitch, layer.n, 4),
            )  # fmt: skip


@part
def learn_layer(
    one: float, head: Head, below: Layer, layer: Layer, begin: int, groups: int, start: int, steps: int
) -> None:
    """Gradients of a hidden layer for a block of groups."""
    for panel in range(layer.panels):
        first = panel_start(layer, panel)
        for slot in range(groups):
            here = group_steps(head, begin + slot, start, steps)
            if here == 0:
                continue
            if panel < layer.wide:
                learn_panel(FOUR, one, head, below, layer, slot, begin + slot, start, here, first)
            else:
                learn_panel(ONE, one, head, below, layer, slot, begin + slot, start, here, first)


@part
def learn_outer(
    one: float, head: Head, layer: Layer, to: int, slot: int, group: int, start: int, steps: int
) -> None:
    """Σ κ-filtered transmitted spikes of a layer ⊗ error: the readout's gradient, or a feedback's."""
    size, kpad = size_of(one), head.kpad
    samples = group_samples(head, group)
    carry = head.carry
    for first in range(0, kpad, 16):
        source = head.filtered + first * size
        sum_over_spikes(
            ONE, one, layer, slot, layer.lists, layer.tally, samples * steps,
            layer.scale, to + first * layer.n * size, 16 * size, source, kpad * size,
        )  # fmt: skip
        if start > 0 and head.backwards == 0:
            for s in range(samples):
                place = slot * head.samples + s
                for c in range(16):
                    value = simd.load_float(one, source + (s * steps * kpad + c) * size)
                    simd.store_float(one, carry + c * size, value * head.kappa)
                simd.product(
                    ONE, one,
                    (one, to + first * layer.n * size, 16 * size,
                     layer.plain_traces + place * layer.width * size, size, 0, carry, 0,
                     layer.n, 1),
                )  # fmt: skip


@part
def learn_readout_bias(one: float, head: Head, layer: Layer, samples: int, start: int, steps: int) -> None:
    """Σ of the κ-filtered errors, and what the trace of the constant 1 brings from earlier chunks."""
    size, kpad = size_of(one), head.kpad
    to = layer.bias_gradient
    for first in range(0, kpad, 16):
        source = head.filtered + first * size
        simd.column_sum(ONE, one, (to + first * size, source, kpad * size, samples * steps))
    if start > 0 and head.backwards == 0:
        seen = simd.load_f64(head.ones + (layer.index * head.chunks + start // head.chunk) * 24)
        for s in range(samples):
            for c in range(kpad):
                value = simd.load_float(one, head.filtered + (s * steps * kpad + c) * size)
                place = to + c * size
                simd.store_float(one, place, simd.load_float(one, place) + value * head.kappa * seen)


@part
def learn_readout(
    one: float, head: Head, layers: Layers, slot: int, group: int, start: int, steps: int
) -> None:
    """Gradients that need the κ-filtered error: of a readout without spikes, and of such feedback."""
    size, kpad, last = size_of(one), head.kpad, head.hidden
    spiking = head.top > last  # it learns like a hidden layer
    if spiking and head.outer == 0:
        return
    samples = group_samples(head, group)
    errors = head.errors + slot * CAPACITY * kpad * size
    for s in range(samples):
        for first in range(0, kpad, 16):
            offset = (s * steps * kpad + first) * size
            state = head.carry
            if head.backwards != 0:
                state = head.readout_states + ((slot * head.samples + s) * kpad + first) * size
            else:
                simd.fill(ONE, one, (one * 0, state, 0, 1))
            simd.backward_decay(
                ONE, one, (head.kappa, head.filtered + offset, errors + offset, kpad * size, steps, state)
            )
    if not spiking:
        readout = layers[last + 1]
        if readout.bias_gradient != 0:
            learn_readout_bias(one, head, readout, samples, start, steps)
        to = readout.gradient
        learn_outer(one, head, layers[last], to, slot, group, start, steps)
    if head.outer != 0:
        for k in range(1, last + 1):
            layer = layers[k]
            learn_outer(
                one, head, layer, layer.feedback_gradient, slot, group, start,
                steps,
            )  # fmt: skip
