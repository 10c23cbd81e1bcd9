"""How a batch is cut: chunks of time, groups of samples, blocks of groups, and each worker's share."""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

from neurofdfa.engine import fields as f


class Shape(NamedTuple):
    """What the layout depends on besides the network.

    learn: train or only run. feedback: `Teaching.kind`. probed: samples with tangents.
    stages: decays of the noise trace per layer. rated: rate target. every: steps between updates of the
    weights, 0 for one at the end.
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


SECOND_CACHE = 1 << 20
"""Bytes of the second cache that can be counted on."""

PROBED_WORK = 1.75
"""Work on a group with tangents ÷ work on one without (measured: 1.6 on net A, 1.9 on net C)."""


def chunk_length(steps: int, chunk: int | None = None) -> int:
    """Steps per chunk: the whole sequence if it fits, else equal parts."""
    most = min(chunk or f.CAPACITY, f.CAPACITY)
    return -(-steps // -(-steps // most))


def longest_part(every: int, chunk: int | None = None) -> int:
    """Steps per chunk where a chunk has to end every so many steps."""
    most = min(chunk or f.CAPACITY, f.CAPACITY)
    return max(k for k in range(1, min(every, most) + 1) if every % k == 0)


def cut(shape: Shape, chunk: int | None, widths: Sequence[int], weights: int) -> tuple[int, int, int, int]:
    """Steps of a chunk, samples of a group, groups in all and groups in a block.

    widths: neurons of the input, the layers and the readout; weights: between them.
    """
    steps = chunk_length(shape.steps, chunk) if not shape.every else longest_part(shape.every, chunk)
    share = -(-shape.batch // shape.workers)
    samples = max(1, min(f.CAPACITY // steps, share))
    groups = -(-shape.batch // samples)
    if shape.rated or shape.every:  # each worker goes through all of its groups before any of them learns
        ends = parts(groups, -(-shape.probed // samples), shape.workers)
        return steps, samples, groups, max(b - a for a, b in pairwise(ends))
    group = samples * steps * sum(widths[1:-1]) * shape.size
    slots = SECOND_CACHE // group  # ψ stays there between the forward pass and the gradients
    if weights * shape.size > SECOND_CACHE:
        slots = min(8, 16 * SECOND_CACHE // group)  # weights come from further away: once for several groups
    return steps, samples, groups, max(1, min(slots, -(-groups // shape.workers)))


def parts(groups: int, probed: int, workers: int) -> list[int]:
    """Where each worker's groups begin, and the end. The first `probed` groups carry tangents: more work."""
    each = (PROBED_WORK if group < probed else 1.0 for group in range(groups))
    work = list(accumulate(each, initial=0.0))
    return [bisect_left(work, work[-1] * k / workers) for k in range(workers)] + [groups]
