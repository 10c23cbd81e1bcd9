"""Where things lie: panels, groups, lists."""

# pyright: basic, reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false, reportGeneralTypeIssues=false
from neurofdfa.engine import simd
from neurofdfa.engine.compiled import part
from neurofdfa.engine.fields import (
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
