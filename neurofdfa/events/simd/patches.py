"""Loops of convolutions: one tile of neurons hears a window of the image below, line by line."""

# pyright: basic, reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false, reportGeneralTypeIssues=false
from typing import Any

from numba.core import cgutils

from neurofdfa.events.simd.emit import FAST, I32, I64, Emit, kernel


def _int(e: Emit, address: Any) -> Any:
    return e.b.zext(e.b.load(e.pointer(address, I32), align=4), I64)


@kernel(1, 13)
def patch_sum(
    e: Emit,
    scale: Any,
    to: Any,
    pitch: Any,
    start: Any,
    weight: Any,
    weight_line: Any,
    width: Any,
    events: Any,
    starts: Any,
    starts_row: Any,
    starts_line: Any,
    starts_span: Any,
    lines: Any,
    rows: Any,
) -> None:
    """Add rows: to[row] ← start + scale · Σ weight[event], over the events of each line of a window.

    starts: where the first line's events begin; they end where those `starts_span` bytes further begin. The
    next line is `starts_line` bytes further, and its weights `weight_line`; the next row `starts_row`.
    """
    b = e.b
    sums = e.variables([e.full(0.0)] * e.vectors)
    base = [e.load(start, v) for v in range(e.vectors)]
    factor = e.splat(scale)
    with cgutils.for_range(b, rows) as row:
        for slot in sums:
            b.store(e.full(0.0), slot)
        first = e.row(starts, row.index, starts_row)
        with cgutils.for_range(b, lines) as line:
            place = e.row(first, line.index, starts_line)
            source = e.row(weight, line.index, weight_line)
            begin, end = _int(e, place), _int(e, b.add(place, starts_span))
            here = e.row(events, begin, e.const(4))
            with cgutils.for_range(b, b.sub(end, begin)) as loop:
                there = e.row(source, _int(e, e.row(here, loop.index, e.const(4))), width)
                for v, slot in enumerate(sums):
                    b.store(b.fadd(b.load(slot), e.load(there, v), flags=FAST), slot)
        there = e.row(to, row.index, pitch)
        for v, slot in enumerate(sums):
            e.store(e.mul_add(b.load(slot), factor, base[v]), there, v)


@kernel(1, 6)
def patch_gather(
    e: Emit,
    scale: Any,
    to: Any,
    width: Any,
    source: Any,
    begins: Any,
    lists: Any,
    count: Any,
) -> None:
    """Add rows: to[neuron] += scale · Σ source[row] for `count` neurons, over the one-byte rows of each.

    begins: where the first neuron's rows begin in `lists`; the next neuron's begin where they end.
    """
    b = e.b
    factor = e.splat(scale)
    sums = e.variables([e.full(0.0)] * e.vectors)
    with cgutils.for_range(b, count) as loop:
        place = e.row(begins, loop.index, e.const(4))
        begin, end = _int(e, place), _int(e, b.add(place, e.const(4)))
        with b.if_then(b.icmp_unsigned("!=", begin, end)):
            for slot in sums:
                b.store(e.full(0.0), slot)
            with e.each_row(b.add(lists, begin), b.sub(end, begin)) as row:
                here = e.row(source, row, width)
                for v, slot in enumerate(sums):
                    b.store(b.fadd(b.load(slot), e.load(here, v), flags=FAST), slot)
            there = e.row(to, loop.index, width)
            for v, slot in enumerate(sums):
                e.store(e.mul_add(b.load(slot), factor, e.load(there, v)), there, v)
