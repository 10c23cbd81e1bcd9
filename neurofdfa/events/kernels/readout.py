"""Outputs, scores, losses and errors."""

# pyright: basic, reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false, reportGeneralTypeIssues=false
import math

from neurofdfa.events import simd
from neurofdfa.events.compiled import part
from neurofdfa.events.fields import (
    BATCH,
    BIAS,
    CAPACITY,
    CARRY,
    CORRECT,
    ERRORS,
    HEARD,
    KAPPA,
    KPAD,
    LAYERS,
    LEARN,
    LOSS,
    LOSS_FROM,
    LOSS_SUM,
    MEAN_SCORE,
    OUTPUT,
    OUTPUT_STATE,
    OUTPUTS,
    PANELS,
    PSI,
    RECORD_Y,
    SAMPLES,
    SCORES,
    SCORES_FROM,
    SHARE,
    SPIKES,
    TARGET,
    TARGET_KIND,
    TOP,
    WEIGHT,
    WIDTH,
    WRONG,
    ZEROS,
    N,
)  # fmt: skip
from neurofdfa.events.kernels.forward import sum_rows
from neurofdfa.events.kernels.layout import ONE, group_samples, size_of


@part
def copy_spikes(one, head, table, slot, rows, first, to, pitch):
    """to[row] ← spikes of sixteen of the readout's neurons, as 0 and 1."""
    size, layer = size_of(one), head[LAYERS] + 1
    words = table[layer, SPIKES] + (slot * table[layer, PANELS] + first // 16) * CAPACITY * 8
    for row in range(rows):
        bits = simd.load_i64(words + 8 * row)
        for c in range(16):
            simd.store_float(one, to + row * pitch + c * size, one * ((bits >> c) & 1))


@part
def forward_readout(one, head, table, floats, consts, slot, group, start, steps):
    """Y of all rows of a group, into the scratch OUTPUT."""
    size, kpad, layer = size_of(one), head[KPAD], head[LAYERS] + 1
    spiking = head[TOP] == layer
    samples = group_samples(head, group)
    below, pitch = layer - 1, kpad * size
    for first in range(0, kpad, 16):
        to = head[OUTPUT] + first * size
        base = table[layer, BIAS] + first * size if table[layer, BIAS] != 0 else head[ZEROS]
        weight = table[layer, WEIGHT] + first * table[below, N] * size
        if spiking:
            copy_spikes(one, head, table, slot, samples * steps, first, to, pitch)
        else:
            sum_rows(ONE, one, table, floats, below, slot, samples * steps, to, pitch, base, weight)
        for s in range(samples):
            state = head[OUTPUT_STATE] + ((slot * head[SAMPLES] + s) * kpad + first) * size
            here = to + s * steps * pitch
            simd.forward_decay(ONE, one, (consts[KAPPA], here, here, pitch, steps, state))


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
            if head[MEAN_SCORE] != 0 and now > head[SCORES_FROM]:
                simd.add_row(ONE, one, (score, y, kpad // 16))
            elif now == head[SCORES_FROM] or (head[MEAN_SCORE] == 0 and t == steps - 1):
                for c in range(k):
                    simd.store_float(one, score + c * size, simd.load_float(one, y + c * size))
            if head[RECORD_Y] != 0:
                line = head[RECORD_Y] + (now * head[BATCH] + sample) * k * size
                for c in range(k):
                    simd.store_float(one, line + c * size, simd.load_float(one, y + c * size))
            if learn == 0:
                continue
            part = consts[SHARE] if now >= head[LOSS_FROM] else 0.0
            weight = one * (part / head[BATCH])
            to = head[ERRORS] + (slot * CAPACITY + s * steps + t) * kpad * size
            if part == 0.0:
                for c in range(kpad):
                    simd.store_float(one, to + c * size, one * 0)
            elif head[LOSS] == 0:
                label = simd.load_i64(head[TARGET] + 8 * sample)
                simd.softmax(ONE, one, (simd.cast(one, weight), to, y, k, kpad // 16, label, head[CARRY]))
                total = simd.load_float(one, head[CARRY])
                high = simd.load_float(one, head[CARRY] + size)
                loss += part * (math.log(total) + high - simd.load_float(one, y + label * size))
            else:
                loss += part * difference(one, head, consts, to, y, sample, now, simd.cast(one, weight))
    simd.store_f64(head[LOSS_SUM], simd.load_f64(head[LOSS_SUM]) + loss / head[BATCH])


@part
def tell_deltas(one, head, table, slot, rows):
    """E times ψ of a spiking readout, for layers that hear what its neurons do."""
    size, kpad, layer = size_of(one), head[KPAD], head[LAYERS] + 1
    for c in range(kpad):
        first = c // 16 * 16
        psi = table[layer, PSI] + (slot * table[layer, WIDTH] + first) * CAPACITY * size
        for row in range(rows):
            place = (slot * CAPACITY + row) * kpad * size + c * size
            error = simd.load_float(one, head[ERRORS] + place)
            shape = simd.load_float(one, psi + (row * 16 + c - first) * size)
            simd.store_float(one, head[HEARD] + place, error * shape)


@part
def tell_targets(one, head, consts, slot, group, start, steps):
    """W y* of every row, for layers that are told the target in place of the error."""
    size, k, kpad, kind = size_of(one), head[OUTPUTS], head[KPAD], head[TARGET_KIND]
    for s in range(group_samples(head, group)):
        sample = group * head[SAMPLES] + s
        label = simd.load_i64(head[TARGET] + 8 * sample) if kind == 0 else 0
        for t in range(steps):
            part = consts[SHARE] if start + t >= head[LOSS_FROM] else 0.0
            line = sample if kind == 1 else (start + t) * head[BATCH] + sample
            to = head[HEARD] + (slot * CAPACITY + s * steps + t) * kpad * size
            for c in range(k):
                goal = one * (c == label)
                if kind != 0:
                    goal = simd.load_float(one, head[TARGET] + (line * k + c) * size)
                simd.store_float(one, to + c * size, one * (goal * (part / head[BATCH])))
