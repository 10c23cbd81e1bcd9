"""Where things lie: panels, groups, lists; and products of a panel."""

# pyright: basic, reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false, reportGeneralTypeIssues=false
from neurofdfa.events import simd
from neurofdfa.events.compiled import part
from neurofdfa.events.fields import (
    BATCH,
    CAPACITY,
    EVENTS,
    SAMPLES,
    STARTS,
    WIDE,
    WIDTH,
)  # fmt: skip

FOUR = (0, 0, 0, 0)
ONE = (0,)


@part
def size_of(one):
    """Bytes of a float of this type."""
    return simd.width_of(one)


@part
def panel_start(layer, table, panel):
    """First neuron of a panel."""
    wide = table[layer, WIDE]
    return panel * 64 if panel < wide else wide * 64 + (panel - wide) * 16


@part
def group_samples(head, group):
    """Samples of a group; the last one may be smaller."""
    left = head[BATCH] - group * head[SAMPLES]
    return left if left < head[SAMPLES] else head[SAMPLES]


@part
def events_of(table, layer, slot):
    """Where a layer's events lie."""
    return table[layer, EVENTS] + slot * (table[layer, WIDTH] * CAPACITY + 64) * 4


@part
def starts_of(table, layer, slot):
    """Where each row of them begins."""
    return table[layer, STARTS] + slot * (CAPACITY + 1) * 4


@part
def deep_product(lanes, one, old, c, c_pitch, a, a_row, b, rows, depth):
    """C ← old · c + a b, c and b one panel wide, 128 rows of b at a time: they stay in the first cache."""
    size = size_of(one)
    pitch = len(lanes) * 16 * size
    for k in range(0, depth, 128):
        left = depth - k if depth - k < 128 else 128
        factor = old if k == 0 else one
        here, there = a + k * size, b + k * pitch
        simd.product(lanes, one, (factor, c, c_pitch, here, a_row, size, there, pitch, rows, left))
