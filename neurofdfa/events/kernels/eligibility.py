"""Traces per synapse that are carried from chunk to chunk: for updates inside a sequence, and for streams.

A chunk learns from its own spikes as in `learning`. What came before is, per synapse and sample, ε and
ē = κē⁻ + ψε, and per pre-synaptic neuron p, at the chunk's start. With E and P of the chunk's reverse filter,
d the factor of ε from the last step before it into its first, and λ that step's filtered signal,

    gradient += κλ ē + dE ε + αP p.

The end of the chunk is reached by the same filter: of a 1 at the last step in place of the errors (for ε), or
of 1, κ, κ² … from there (for ē). Its rows are then what every spike leaves behind.
"""

from neurofdfa.events import simd
from neurofdfa.events.compiled import part
from neurofdfa.events.kernels.layout import membranes_of, panel_of, size_of
from neurofdfa.events.kernels.lists import sum_over_spikes
from neurofdfa.events.records import CAPACITY, Head, Layer
from neurofdfa.events.simd.emit import Lanes

COEFFICIENTS = 10
"""Rows of factors in `Head.coefficients`, see `simd.carry_synapses`; behind them a row for the constant 1."""


@part
def times(lanes: Lanes, one: float, to: int, x: int, y: int) -> None:
    """Multiply one row of a panel: to ← x · y."""
    size = size_of(one)
    for c in range(len(lanes) * 16):
        value = simd.load_float(one, x + c * size) * simd.load_float(one, y + c * size)
        simd.store_float(one, to + c * size, value)


@part
def take_factors(lanes: Lanes, one: float, layer: Layer, first: int, link: int, state: int, to: int) -> None:
    """The factors of ε, p and spikes on their way: dE, αP and P, into three rows."""
    pitch = len(lanes) * 16 * size_of(one)
    times(lanes, one, to, link, state)
    times(lanes, one, to + pitch, layer.alphas + first * size_of(one), state + 2 * pitch)
    simd.copy_rows(lanes, one, (to + 2 * pitch, pitch, state + 2 * pitch, 1))


@part
def filter_ones(
    lanes: Lanes, one: float, head: Head, layer: Layer, slot: int, first: int, rows: int, to: int, state: int
) -> None:
    """The reverse filter of a panel's steps on signals that stand in `to`."""
    size = size_of(one)
    psi = layer.psi + (slot * layer.width + first) * CAPACITY * size
    words = layer.spikes + (slot * layer.panels + panel_of(layer, first)) * CAPACITY * 8
    seen = psi if layer.general == 0 else membranes_of(one, layer, slot, first)
    simd.reverse_exact(
        lanes, one,
        (layer.hard, layer.reset, layer.through, layer.adaptation, layer.rho, layer.alphas + first * size,
         layer.betas + first * size, to, len(lanes) * 16 * size, psi, layer.ones_row, head.zeros, 0, words,
         seen, rows, state),
    )  # fmt: skip


@part
def take_link(lanes: Lanes, one: float, layer: Layer, slot: int, first: int, row: int, to: int) -> None:
    """The factor of ε from a chunk's last step into the next chunk, k − lψ."""
    size = size_of(one)
    pitch = len(lanes) * 16 * size
    psi = layer.psi + (slot * layer.width + first) * CAPACITY * size + row * pitch
    word = simd.load_i64(layer.spikes + ((slot * layer.panels + panel_of(layer, first)) * CAPACITY + row) * 8)
    for c in range(len(lanes) * 16):
        beta = simd.load_float(one, layer.betas + (first + c) * size)
        loss = one * layer.reset
        if layer.general != 0:
            place = membranes_of(one, layer, slot, first) + row * pitch + c * size
            loss += one * layer.through * beta * simd.load_float(one, place)
        kept = beta * (one * layer.hard) if (word >> c) & 1 != 0 else beta
        simd.store_float(one, to + c * size, kept - loss * simd.load_float(one, psi + c * size))


@part
def carry_synapses(
    lanes: Lanes,
    one: float,
    head: Head,
    source: Layer,
    slot: int,
    rows: int,
    lists: int,
    tally: int,
    scale: float,
    late: int,
    traces: int,
    gradient: int,
    membrane: int,
    filtered: int,
    decay: float,
) -> None:
    """Learn from the traces of a panel's synapses, and advance them by the chunk's spikes.

    source: whose spikes; late: 1 where they are heard a step later, and the last of them are behind p.
    """
    size, n = size_of(one), source.n
    pitch = len(lanes) * 16 * size
    simd.carry_rows(
        lanes, one,
        (decay, one * late, gradient, filtered, membrane, traces + 2 * source.width * size,
         traces + (2 + late) * source.width * size, head.coefficients, n),
    )  # fmt: skip
    begin = late * pitch
    sum_over_spikes(
        lanes, one, source, slot, lists, tally, rows, scale, membrane, pitch, head.ends + begin, pitch
    )
    sum_over_spikes(
        lanes,
        one,
        source,
        slot,
        lists,
        tally,
        rows,
        scale,
        filtered,
        pitch,
        head.filtered_ends + begin,
        pitch,
    )


@part
def carry_exact(
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
    """Learn from one panel's traces at the start of a chunk, and take them to its end; one sample."""
    size, k = size_of(one), head.outputs
    pitch = len(lanes) * 16 * size
    state = layer.reverse_states + (slot * layer.width + first) * 3 * size
    link = layer.links + (slot * layer.width + first) * size
    factors, kappa = head.coefficients, one * head.error_kappa
    broadcast = head.filtered_errors + slot * CAPACITY * head.kpad * size
    simd.product(
        lanes, one,
        (one * 0, factors, pitch, broadcast, head.kpad * size, size, layer.feedback + first * k * size, pitch,
         1, k),
    )  # fmt: skip
    gain = layer.gain + group * layer.gain_pitch + first * size
    for c in range(len(lanes) * 16):
        told = simd.load_float(one, factors + c * size) * simd.load_float(one, gain + c * size)
        told += simd.load_float(one, layer.extra + (first + c) * size)
        simd.store_float(one, factors + c * size, kappa * told)
    take_factors(lanes, one, layer, first, link, state, factors + pitch)
    last = steps - 1
    simd.fill(lanes, one, (one * 0, head.ends, pitch, last))
    simd.fill(lanes, one, (one, head.ends + last * pitch, pitch, 1))
    simd.fill(lanes, one, (one, state, 2 * pitch, 2))
    simd.fill(lanes, one, (one * 0, state + pitch, pitch, 1))
    filter_ones(lanes, one, head, layer, slot, first, last, head.ends, state)
    take_factors(lanes, one, layer, first, link, state, factors + 7 * pitch)
    power = one
    for t in range(steps):
        simd.fill(lanes, one, (power, head.filtered_ends + (last - t) * pitch, pitch, 1))
        power *= kappa
    simd.fill(lanes, one, (one * 0, state, pitch, 3))
    filter_ones(lanes, one, head, layer, slot, first, steps, head.filtered_ends, state)
    take_factors(lanes, one, layer, first, link, state, factors + 4 * pitch)
    take_link(lanes, one, layer, slot, first, last, link)
    place = (slot * layer.width + first) * below.n * size
    membrane, filtered = layer.membrane_traces + place, layer.filtered_traces + place
    traces = layer.traces + slot * 3 * below.width * size
    to = layer.gradient + first * below.n * size
    if layer.index == 1 and head.input_kind == 3:
        here = head.input + group * head.input_sample + start * head.input_step
        p = traces + 2 * below.width * size
        simd.carry_rows(lanes, one, (power, one * 0, to, filtered, membrane, p, p, factors, below.n))
        for turn in range(2):
            there, rows = (membrane, head.ends) if turn == 0 else (filtered, head.filtered_ends)
            simd.product(
                lanes, one, (one, there, pitch, here, size, head.input_step, rows, pitch, below.n, steps)
            )
    else:
        carry_synapses(
            lanes, one, head, below, slot, steps, below.lists, below.tally, below.scale, 0, traces, to,
            membrane, filtered, power,
        )  # fmt: skip
    if layer.recurrent != 0:
        place = (slot * layer.width + first) * layer.n * size
        membrane, filtered = layer.own_membrane_traces + place, layer.own_filtered_traces + place
        carry_synapses(
            lanes, one, head, layer, slot, steps, layer.own_lists, layer.own_tally, 1.0, 1,
            layer.own_traces + slot * 4 * layer.width * size,
            layer.recurrent_gradient + first * layer.n * size, membrane, filtered, power,
        )  # fmt: skip
    if layer.bias != 0:
        membrane = layer.bias_traces + (slot * layer.width + first) * 2 * size
        ones = factors + COEFFICIENTS * pitch
        seen = simd.load_f64(head.ones + (layer.index * head.chunks + start // head.chunk) * 24 + 16)
        simd.store_float(one, ones, one * seen)
        simd.carry_rows(
            lanes, one,
            (power, one * 0, layer.bias_gradient + first * size, membrane + pitch, membrane, ones, ones,
             factors, 1),
        )  # fmt: skip
        simd.column_sum(lanes, one, (membrane, head.ends, pitch, steps))
        simd.column_sum(lanes, one, (membrane + pitch, head.filtered_ends, pitch, steps))
