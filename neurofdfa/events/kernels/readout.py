"""Outputs, scores, losses and errors."""

import math

from neurofdfa.events import simd
from neurofdfa.events.compiled import part
from neurofdfa.events.kernels.forward import sum_rows
from neurofdfa.events.kernels.layout import ONE, group_samples, own_steps, size_of
from neurofdfa.events.records import CAPACITY, Head, Layer


@part
def copy_spikes(one: float, layer: Layer, slot: int, rows: int, first: int, to: int, pitch: int) -> None:
    """to[row] ← spikes of sixteen of the readout's neurons, as 0 and 1."""
    size = size_of(one)
    words = layer.spikes + (slot * layer.panels + first // 16) * CAPACITY * 8
    for row in range(rows):
        bits = simd.load_i64(words + 8 * row)
        for c in range(16):
            simd.store_float(one, to + row * pitch + c * size, one * ((bits >> c) & 1))


@part
def forward_readout(
    one: float, head: Head, below: Layer, layer: Layer, slot: int, group: int, start: int, steps: int
) -> None:
    """Y of all rows of a group, into the scratch OUTPUT."""
    size, kpad = size_of(one), head.kpad
    spiking = head.top == layer.index
    samples = group_samples(head, group)
    pitch = kpad * size
    for first in range(0, kpad, 16):
        to = head.output + first * size
        base = layer.bias + first * size if layer.bias != 0 else head.zeros
        weight = layer.weight + first * below.n * size
        if spiking:
            copy_spikes(one, layer, slot, samples * steps, first, to, pitch)
        else:
            sum_rows(ONE, one, below, slot, samples * steps, to, pitch, base, weight)
        for s in range(samples):
            state = head.output_state + ((slot * head.samples + s) * kpad + first) * size
            here = to + s * steps * pitch
            simd.forward_decay(ONE, one, (head.kappa, here, here, pitch, steps, state))


@part
def difference(one: float, head: Head, to: int, y: int, sample: int, t: int, weight: float) -> float:
    """E = w (y − target) for values or spike counts, returns the loss."""
    size, k, kpad, kind = size_of(one), head.outputs, head.kpad, head.target_kind
    total = one * 0
    for c in range(kpad):
        value = one * 0
        if c < k:
            if kind == 0:
                hit = simd.load_i64(head.target + 8 * sample) == c
                goal = head.correct if hit else head.wrong
                value = one * (simd.load_float(one, y + c * size) - goal)
            else:
                line = sample if kind == 1 else t * head.batch + sample
                goal = simd.load_float(one, head.target + (line * k + c) * size)
                value = simd.load_float(one, y + c * size) - goal
        total += value * value
        simd.store_float(one, to + c * size, weight * value)
    return 0.5 * total


@part
def loss_window(head: Head, sample: int) -> tuple[int, float, int]:
    """The first step that a sample's loss counts at, the weight of a step, and where its scores begin."""
    if head.lengths == 0:
        return head.loss_from, head.share, head.scores_from
    place = head.lengths + 24 * sample
    loss_from = simd.load_i64(place + 8)
    return loss_from, 1.0 / (simd.load_i64(place) - loss_from), simd.load_i64(place + 16)


@part
def read_out(one: float, head: Head, slot: int, group: int, start: int, steps: int) -> None:
    """Scores, losses and errors from y."""
    size, k, kpad = size_of(one), head.outputs, head.kpad
    samples, learn = group_samples(head, group), head.learn
    loss = 0.0
    for s in range(samples):
        sample = group * head.samples + s
        score = head.scores + sample * kpad * size
        own = own_steps(head, sample, start, steps)
        loss_from, share, scores_from = loss_window(head, sample)
        for t in range(steps):
            y = head.output + (s * steps + t) * kpad * size
            now = start + t
            if t >= own:
                pass
            elif head.mean_score != 0 and now > scores_from:
                simd.add_row(ONE, one, (score, y, kpad // 16))
            elif now == scores_from or (head.mean_score == 0 and t == own - 1):
                for c in range(k):
                    simd.store_float(one, score + c * size, simd.load_float(one, y + c * size))
            if head.record_y != 0:
                line = head.record_y + (now * head.batch + sample) * k * size
                for c in range(k):
                    simd.store_float(one, line + c * size, simd.load_float(one, y + c * size))
            if learn == 0:
                continue
            part = share if now >= loss_from and t < own else 0.0
            weight = one * (part / head.batch)
            to = head.errors + (slot * CAPACITY + s * steps + t) * kpad * size
            if part == 0.0:
                for c in range(kpad):
                    simd.store_float(one, to + c * size, one * 0)
            elif head.loss == 0:
                label = simd.load_i64(head.target + 8 * sample)
                simd.softmax(ONE, one, (simd.cast(one, weight), to, y, k, kpad // 16, label, head.carry))
                total = simd.load_float(one, head.carry)
                high = simd.load_float(one, head.carry + size)
                loss += part * (math.log(total) + high - simd.load_float(one, y + label * size))
            else:
                loss += part * difference(one, head, to, y, sample, now, simd.cast(one, weight))
    simd.store_f64(head.loss_sum, simd.load_f64(head.loss_sum) + loss / head.batch)


@part
def tell_deltas(one: float, head: Head, layer: Layer, slot: int, rows: int) -> None:
    """E times ψ of a spiking readout, for layers that hear what its neurons do."""
    size, kpad = size_of(one), head.kpad
    for c in range(kpad):
        first = c // 16 * 16
        psi = layer.psi + (slot * layer.width + first) * CAPACITY * size
        for row in range(rows):
            place = (slot * CAPACITY + row) * kpad * size + c * size
            error = simd.load_float(one, head.errors + place)
            shape = simd.load_float(one, psi + (row * 16 + c - first) * size)
            simd.store_float(one, head.heard + place, error * shape)


@part
def tell_targets(one: float, head: Head, slot: int, group: int, start: int, steps: int) -> None:
    """W y* of every row, for layers that are told the target in place of the error."""
    size, k, kpad, kind = size_of(one), head.outputs, head.kpad, head.target_kind
    for s in range(group_samples(head, group)):
        sample = group * head.samples + s
        label = simd.load_i64(head.target + 8 * sample) if kind == 0 else 0
        own = own_steps(head, sample, start, steps)
        loss_from, share, _ = loss_window(head, sample)
        for t in range(steps):
            part = share if start + t >= loss_from and t < own else 0.0
            line = sample if kind == 1 else (start + t) * head.batch + sample
            to = head.heard + (slot * CAPACITY + s * steps + t) * kpad * size
            for c in range(k):
                goal = one * (c == label)
                if kind != 0:
                    goal = simd.load_float(one, head.target + (line * k + c) * size)
                simd.store_float(one, to + c * size, one * (goal * (part / head.batch)))
