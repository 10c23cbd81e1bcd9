"""Where things lie: panels, groups, lists; and products of a panel."""

from neurofdfa.events import simd
from neurofdfa.events.compiled import part
from neurofdfa.events.records import CAPACITY, Head, Layer
from neurofdfa.events.simd.emit import Lanes

FOUR = (0, 0, 0, 0)
ONE = (0,)


@part
def size_of(one: float) -> int:
    """Bytes of a float of this type."""
    return simd.width_of(one)


@part
def panel_start(layer: Layer, panel: int) -> int:
    """First neuron of a panel."""
    wide = layer.wide
    return panel * 64 if panel < wide else wide * 64 + (panel - wide) * 16


@part
def panel_of(layer: Layer, first: int) -> int:
    """The panel that begins with a neuron."""
    wide = layer.wide
    return first // 64 if first < wide * 64 else wide + (first - wide * 64) // 16


@part
def group_samples(head: Head, group: int) -> int:
    """Samples of a group; the last one may be smaller."""
    left = head.batch - group * head.samples
    return left if left < head.samples else head.samples


@part
def own_steps(head: Head, sample: int, start: int, steps: int) -> int:
    """How many of a chunk's steps are a sample's own."""
    if head.lengths == 0:
        return steps
    left = simd.load_i64(head.lengths + 24 * sample) - start
    return max(0, min(left, steps))


@part
def group_steps(head: Head, group: int, start: int, steps: int) -> int:
    """How many of a chunk's steps the longest sample of a group has: nobody computes the rest."""
    if head.lengths == 0:
        return steps
    longest = 0
    for s in range(group_samples(head, group)):
        longest = max(longest, own_steps(head, group * head.samples + s, start, steps))
    return longest


@part
def events_of(layer: Layer, slot: int) -> int:
    """Where a layer's events lie."""
    return layer.events + slot * (layer.width * CAPACITY + 64) * 4


@part
def starts_of(layer: Layer, slot: int) -> int:
    """Where each row of them begins."""
    return layer.starts + slot * (CAPACITY + 1) * 4


@part
def membranes_of(one: float, layer: Layer, slot: int, first: int) -> int:
    """Where the membranes of a panel's first row lie, if they are kept."""
    return layer.membranes + (slot * layer.width + first) * CAPACITY * size_of(one)


@part
def deep_product(
    lanes: Lanes,
    one: float,
    old: float,
    c: int,
    c_pitch: int,
    a: int,
    a_row: int,
    b: int,
    rows: int,
    depth: int,
) -> None:
    """C ← old · c + a b, c and b one panel wide, 128 rows of b at a time: they stay in the first cache."""
    size = size_of(one)
    pitch = len(lanes) * 16 * size
    for k in range(0, depth, 128):
        left = depth - k if depth - k < 128 else 128
        factor = old if k == 0 else one
        here, there = a + k * size, b + k * pitch
        simd.product(lanes, one, (factor, c, c_pitch, here, a_row, size, there, pitch, rows, left))
