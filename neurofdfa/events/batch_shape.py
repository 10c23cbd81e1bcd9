"""How a batch is cut: chunks of time, groups of samples, blocks of groups, and each worker's share."""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

from neurofdfa.events.records import CAPACITY


class Shape(NamedTuple):
    """What the layout depends on besides the network.

    learn: train or only run. feedback: `FeedbackBinding.kind`. probed: samples with tangents.
    stages: decays of the noise trace per layer. rated: rate target. every: steps between updates of the
    weights, 0 for one at the end. exact: traces per synapse, of chunks that are learnt from last to first or,
    if carried, as they come. general: layers whose membranes are kept for that. own: samples have lengths of
    their own, of `steps` steps at most.
    """

    steps: int
    batch: int
    size: int
    learn: bool
    feedback: str
    probed: int
    stages: tuple[int, ...]
    rated: bool
    every: int
    workers: int
    exact: bool = False
    carried: bool = False
    general: tuple[bool, ...] = ()
    own: bool = False

    @property
    def backwards(self) -> bool:
        """Whether the chunks of a sequence are learnt from last to first."""
        return self.exact and not self.carried


SECOND_CACHE = 1 << 20
"""Bytes of the second cache that can be counted on."""

MOST_KEPT = 24 << 20
"""Bytes that a thread keeps of sequences in several chunks that are learnt backwards, if one sample fits."""

TYPICAL_RATE, ADDED, CELL = 0.06, 2.5, 64.0
"""Shard of neurons that fire; cost of a weight that is added for a spike, and of a neuron in a step, in dense
multiply-adds (measured). Threads share out a batch by them."""


class Cut(NamedTuple):
    """Steps of a chunk, samples of a group, groups of a block; where each worker begins, and the end."""

    steps: int
    samples: int
    slots: int
    ends: tuple[int, ...]


def chunk_length(steps: int, chunk: int | None = None) -> int:
    """Steps per chunk: the whole sequence if it fits, else equal parts."""
    most = min(chunk or CAPACITY, CAPACITY)
    return -(-steps // -(-steps // most))


def room_for(steps: int) -> int:
    """Steps of a layout for batches of samples that have lengths of their own: one serves many of them."""
    step = 16 if steps <= CAPACITY else 64
    return -(-steps // step) * step


def longest_part(every: int, chunk: int | None = None) -> int:
    """Steps per chunk where a chunk has to end every so many steps."""
    most = min(chunk or CAPACITY, CAPACITY)
    return max(k for k in range(1, min(every, most) + 1) if every % k == 0)


def cut(shape: Shape, chunk: int | None, widths: Sequence[int], dense: list[tuple[int, int]]) -> Cut:
    """widths: neurons of the input, the layers and the readout; dense: on both sides of dense synapses."""
    steps = chunk_length(shape.steps, chunk) if not shape.every else longest_part(shape.every, chunk)
    share = -(-shape.batch // shape.workers)
    samples = 1 if shape.carried else max(1, min(CAPACITY // steps, share))
    groups = -(-shape.batch // samples)
    ends = parts(groups, -(-shape.probed // samples), shape.workers, probed_work(widths, dense))
    group = samples * steps * sum(widths[1:-1]) * shape.size
    slots = SECOND_CACHE // group  # ψ stays there between the forward pass and the gradients
    if sum(a * b for a, b in dense) * shape.size > SECOND_CACHE:
        slots = min(8, 16 * SECOND_CACHE // group)  # weights come from further away: once for several groups
    slots = max(1, min(slots, -(-groups // shape.workers)))
    if shape.backwards and steps < shape.steps:
        slots = max(1, min(slots, MOST_KEPT // (-(-shape.steps // steps) * kept_bytes(shape, widths))))
    if (
        (shape.rated and not shape.own) or shape.every or shape.carried
    ):  # each worker goes through all of its groups before any of them learns
        slots = max(b - a for a, b in pairwise(ends))
    return Cut(steps, samples, slots, tuple(ends))


def kept_bytes(shape: Shape, widths: Sequence[int]) -> int:
    """Of a group and a chunk until it is learnt: ψ, membranes, lists of spikes and errors."""
    general = sum(n for n, kept in zip(widths[1:-1], shape.general, strict=False) if kept)
    numbers = sum(widths[1:-1]) + general + 2 * widths[-1]
    return CAPACITY * (shape.size * numbers + 2 * sum(widths))


def probed_work(widths: Sequence[int], dense: list[tuple[int, int]]) -> float:
    """Work on a sample with tangents ÷ work on one without (measured: 1.6 on nets A and B, 2.4 on net C)."""
    k = widths[-1]
    synapses = sum(a * b for a, b in dense)
    plain = 2 * TYPICAL_RATE * ADDED * synapses + (CELL + k) * sum(widths[1:-1])
    given = widths[0] * widths[1] if dense[:1] == [(widths[0], widths[1])] else 0  # the input has no tangents
    tangents = synapses - given + k * sum(widths[1:-1])
    return 1.0 + tangents / plain


def parts(groups: int, probed: int, workers: int, work: float) -> list[int]:
    """Where each worker's groups begin, and the end. The first `probed` groups carry tangents: more work."""
    each = (work if group < probed else 1.0 for group in range(groups))
    total = list(accumulate(each, initial=0.0))
    return [bisect_left(total, total[-1] * k / workers) for k in range(workers)] + [groups]
