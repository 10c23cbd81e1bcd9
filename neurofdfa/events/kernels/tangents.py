"""Forward derivatives along probes, and what they say about the feedback."""

from neurofdfa.events import simd
from neurofdfa.events.compiled import part
from neurofdfa.events.kernels.convolution import tangent_tiles
from neurofdfa.events.kernels.layout import (
    FOUR,
    ONE,
    deep_product,
    group_samples,
    membranes_of,
    own_steps,
    panel_start,
    size_of,
)
from neurofdfa.events.records import CAPACITY, Head, Layer, Layers
from neurofdfa.events.simd.emit import Lanes


@part
def mix(x: int) -> int:
    """Sixty-four bits from a counter (the finaliser of splitmix64, Steele et al. 2014)."""
    x = (x ^ simd.shift_right(x, 30)) * -4658895280553007687
    x = (x ^ simd.shift_right(x, 27)) * -7723592293110705685
    return x ^ simd.shift_right(x, 31)


@part
def draw_probes(
    one: float, head: Head, layer: Layer, group: int, probed: int, start: int, steps: int
) -> None:
    """V of a layer: signs from a counter-based generator, or the values handed in."""
    size, width = size_of(one), layer.width
    for s in range(probed):
        sample = group * head.samples + s
        for t in range(steps):
            to = layer.probe + (s * steps + t) * width * size
            if layer.given != 0:
                line = ((start + t) * head.probed + sample) * layer.n
                for c in range(layer.n):
                    value = simd.load_float(one, layer.given + (line + c) * size)
                    simd.store_float(one, to + c * size, value)
                continue
            at = (start + t) * head.total + head.first + head.every * sample
            counter = (at * (head.hidden + 1) + layer.index) * 4096
            for panel in range(layer.panels):
                bits = mix(mix((counter + panel) * -7046029254386353131 + head.seed))
                place = to + panel_start(layer, panel) * size
                if panel < layer.wide:
                    simd.signs(FOUR, one, (place, bits))
                else:
                    simd.signs(ONE, one, (place, bits))


@part
def tangent_panel(
    lanes: Lanes,
    one: float,
    head: Head,
    layer: Layer,
    slot: int,
    s: int,
    panel: int,
    first: int,
    to: int,
    row: int,
    steps: int,
    before: int,
    gain: int,
) -> None:
    """Scan one panel of one sample's tangents; before: address of the spikes before the first row."""
    size = size_of(one)
    width = layer.width
    offset = first * size
    place = slot * head.samples + s
    psi = layer.psi + (slot * width + first) * CAPACITY * size
    words = layer.spikes + ((slot * layer.panels + panel) * CAPACITY + row) * 8
    seen = psi if layer.general == 0 else membranes_of(one, layer, slot, first)
    line = row * len(lanes) * 16 * size
    here = to + row * width * size + offset
    simd.tangent(
        lanes, one,
        (layer.hard, layer.reset, layer.through, layer.adaptation, layer.rho, layer.alphas + offset,
         layer.betas + offset, here, width * size, psi + line, seen + line, words, before,
         gain + offset, layer.probe + row * width * size + offset, here, steps,
         layer.tangent_state + (place * width + first) * 4 * size),
    )  # fmt: skip


@part
def tangent_drive(
    lanes: Lanes, one: float, below: Layer, layer: Layer, first: int, to: int, source: int, rows: int
) -> None:
    """to[row] ← W ẋ of one panel."""
    size = size_of(one)
    width = layer.width * size
    offset = first * size
    if layer.index == 1:
        simd.fill(lanes, one, (one * 0, to + offset, width, rows))
    else:
        weight = layer.weight + first * below.n * size
        deep_product(
            lanes, one, one * 0, to + offset, width, source, below.width * size, weight, rows, below.n
        )


@part
def tangent_own(lanes: Lanes, one: float, layer: Layer, first: int, to: int, sent: int, row: int) -> None:
    """to[row] += V ẋ⁻ of one panel of a recurrent layer."""
    size = size_of(one)
    width, offset = layer.width * size, first * size
    simd.product(
        lanes, one,
        (one, to + row * width + offset, width, sent, width, size,
         layer.recurrent + first * layer.n * size, len(lanes) * 16 * size, 1,
         layer.n),
    )  # fmt: skip


@part
def tangent_layer(
    one: float,
    head: Head,
    below: Layer,
    layer: Layer,
    slot: int,
    group: int,
    probed: int,
    steps: int,
    to: int,
    source: int,
    fired: int,
) -> None:
    """ẋ of one hidden layer; `fired` holds the words of spikes before the chunk."""
    size, panels, width = size_of(one), layer.panels, layer.width
    if layer.image != 0:
        tangent_tiles(one, head, below, layer, to, source, probed * steps)
    for panel in range(panels if layer.image == 0 else 0):
        first = panel_start(layer, panel)
        if panel < layer.wide:
            tangent_drive(FOUR, one, below, layer, first, to, source, probed * steps)
        else:
            tangent_drive(ONE, one, below, layer, first, to, source, probed * steps)
    own = layer.recurrent != 0 and head.tangent_recurrent != 0
    for s in range(probed):
        gain = layer.gain + (group * head.samples + s) * layer.gain_pitch
        heard = layer.ones_row if own else gain  # recurrent synapses hear what dropout keeps from others
        kept = layer.tangent_sent + (slot * head.samples + s) * width * size
        stride = 1 if own else steps
        for t in range(0, steps, stride):
            row = s * steps + t
            for panel in range(panels):
                first = panel_start(layer, panel)
                before = layer.spikes + ((slot * panels + panel) * CAPACITY + row - 1) * 8
                if t == 0:
                    before = fired + (s * panels + panel) * 8
                sent = to + (row - 1) * width * size if t > 0 else kept
                if panel < layer.wide:
                    if own:
                        tangent_own(FOUR, one, layer, first, to, sent, row)
                    tangent_panel(
                        FOUR, one, head, layer, slot, s, panel, first, to, row, stride, before, heard
                    )
                else:
                    if own:
                        tangent_own(ONE, one, layer, first, to, sent, row)
                    tangent_panel(
                        ONE, one, head, layer, slot, s, panel, first, to, row, stride, before, heard
                    )
        last = to + ((s + 1) * steps - 1) * width * size
        for c in range(width):
            simd.store_float(one, kept + c * size, simd.load_float(one, last + c * size))
        if own and layer.gain_pitch != 0:
            for row in range(s * steps, (s + 1) * steps):
                for c in range(width):
                    place = (row * width + c) * size
                    noise = simd.load_float(one, layer.probe + place)
                    sent = (simd.load_float(one, to + place) - noise) * simd.load_float(one, gain + c * size)
                    simd.store_float(one, to + place, sent + noise)


@part
def correlate_panel(
    lanes: Lanes, one: float, head: Head, layer: Layer, first: int, noise: int, rows: int
) -> None:
    """Σ Ĵ of one panel."""
    size, k = size_of(one), head.outputs
    simd.product(
        lanes, one,
        (one, layer.feedback_gradient + first * k * size, len(lanes) * 16 * size, head.weighted,
        size,
         head.kpad * size, noise + first * size, layer.width * size, k, rows),
    )  # fmt: skip


@part
def correlate(
    one: float, head: Head, layer: Layer, slot: int, group: int, probed: int, start: int, steps: int
) -> None:
    """Σ Ĵ of one layer: observed tangents of the outputs times the noise trace."""
    size, width, kpad = size_of(one), layer.width, head.kpad
    source = layer.probe
    for stage in range(layer.stages):
        decay = one * simd.load_f64(head.noise_decays + ((layer.index - 1) * 16 + stage) * 8)
        for s in range(probed):
            place = (slot * head.samples + s) * layer.stages + stage
            for first in range(0, width, 16):
                offset = (s * steps * width + first) * size
                state = layer.noise_state + (place * width + first) * size
                simd.forward_decay(
                    ONE, one, (decay, head.noise + offset, source + offset, width * size, steps, state)
                )
        source = head.noise
    for s in range(probed):
        sample, share = group * head.samples + s, one
        own = own_steps(head, sample, start, steps)
        if (
            head.lengths != 0
        ):  # a mean over its own steps: what sums up to a mean over all of them counts less
            share = one * (head.steps / simd.load_i64(head.lengths + 24 * sample))
        for t in range(steps):
            weight = one * simd.load_f64(
                head.probe_weights + ((layer.index - 1) * head.steps + start + t) * 8
            )
            weight *= share
            line = (s * steps + t) * kpad * size
            for c in range(kpad):
                value = weight * simd.load_float(one, head.observed + line + c * size)
                simd.store_float(one, head.weighted + line + c * size, value if t < own else one * 0)
    for panel in range(layer.panels):
        first = panel_start(layer, panel)
        if panel < layer.wide:
            correlate_panel(FOUR, one, head, layer, first, source, probed * steps)
        else:
            correlate_panel(ONE, one, head, layer, first, source, probed * steps)


@part
def weigh(one: float, head: Head, slot: int, rows: int) -> None:
    """Let observed tangents count by the squared error of their output; sum these."""
    size, kpad = size_of(one), head.kpad
    errors = head.errors + slot * CAPACITY * kpad * size
    for c in range(head.outputs):
        relevance, seen = simd.load_f64(head.relevance + 8 * c), simd.load_f64(head.seen + 8 * c)
        for row in range(rows):
            offset = (row * kpad + c) * size
            error = simd.load_float(one, errors + offset)
            power = error * error
            seen += power
            if relevance >= 0.0:
                place = head.observed + offset
                simd.store_float(one, place, one * (relevance * power * simd.load_float(one, place)))
        simd.store_f64(head.seen + 8 * c, seen)


@part
def tangents(
    one: float, head: Head, layers: Layers, slot: int, group: int, start: int, steps: int, fired: int
) -> None:
    """Probe the first samples of the batch: forward derivatives and the estimate of every feedback."""
    size, last, kpad = size_of(one), head.hidden, head.kpad
    probed = head.probed - group * head.samples
    samples = group_samples(head, group)
    probed = probed if probed < samples else samples
    if probed <= 0:
        return
    source, to, free = head.tangent_a, head.tangent_a, head.tangent_b
    for k in range(1, head.top + 1):
        layer = layers[k]
        if k <= last:
            draw_probes(one, head, layer, group, probed, start, steps)
        else:
            to = head.observed  # of a spiking readout
        if k == 1 and (layer.recurrent == 0 or head.tangent_recurrent == 0):
            source = layer.probe  # nothing below moves: what is sent is the probe itself
        else:
            words = fired + (k - 1) * head.samples * head.fired_pitch
            tangent_layer(one, head, layers[k - 1], layer, slot, group, probed, steps, to, source, words)
            source, to, free = to, free, to
    pitch, below, readout = kpad * size, layers[last], layers[last + 1]
    for first in range(0, kpad, 16):
        offset = first * size
        if head.top == last:
            simd.product(
                ONE, one,
                (one * 0, head.observed + offset, pitch, source, below.width * size, size,
                 readout.weight + first * below.n * size, 16 * size, probed * steps,
                 below.n),
            )  # fmt: skip
        if head.observe_output != 0:
            for s in range(probed):
                here = head.observed + offset + s * steps * pitch
                state = head.tangent_output_state + (slot * head.samples + s) * pitch + offset
                simd.forward_decay(ONE, one, (head.kappa, here, here, pitch, steps, state))
    if head.by_error != 0:
        weigh(one, head, slot, probed * steps)
    for k in range(1, last + 1):
        correlate(one, head, layers[k], slot, group, probed, start, steps)
