"""Loops over rows of panels: sums of listed rows, products, Adam."""

# pyright: basic, reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false, reportGeneralTypeIssues=false
from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba.core import cgutils

from neurofdfa.events.simd.emit import FAST, I32, I64, LANES, ROWS, Emit, kernel


@kernel(1, 6)
def row_sum(
    e: Emit, scale: Any, to: Any, start: Any, source: Any, pitch: Any, events: Any, count: Any
) -> None:
    """Add rows: to ← start + scale · Σ source[event] over the int32 events: the drive of one step.

    Sums stay in registers. Two (or four) of them side by side: an addition takes four cycles.
    """
    ways = 2 if e.vectors > 1 else 4
    sums = [e.variables([e.full(0.0)] * e.vectors) for _ in range(ways)]
    whole = e.b.sdiv(count, e.const(ways))

    def add(index: Any, slots: Sequence[Any]) -> None:
        event = e.b.load(e.pointer(e.row(events, index, e.const(4)), I32), align=4)
        place = e.row(source, e.b.zext(event, I64), pitch)
        for v, slot in enumerate(slots):
            e.b.store(e.b.fadd(e.b.load(slot), e.load(place, v), flags=FAST), slot)

    with cgutils.for_range(e.b, whole) as loop:
        for way, slots in enumerate(sums):
            add(e.b.add(e.b.mul(loop.index, e.const(ways)), e.const(way)), slots)
    done = e.b.mul(whole, e.const(ways))
    with cgutils.for_range(e.b, e.b.sub(count, done)) as loop:
        add(e.b.add(done, loop.index), sums[0])
    factor = e.splat(scale)
    for v in range(e.vectors):
        total = e.b.load(sums[0][v])
        for slots in sums[1:]:
            total = e.b.fadd(total, e.b.load(slots[v]), flags=FAST)
        e.store(e.mul_add(total, factor, e.load(start, v)), to, v)


AHEAD = 4
"""Neurons between the one whose row is written and the one whose row is asked for: they lie apart."""


@kernel(1, 8)
def gather_add(
    e: Emit,
    scale: Any,
    to: Any,
    to_pitch: Any,
    source: Any,
    pitch: Any,
    neurons: Any,
    count: Any,
    rows: Any,
    each: Any,
) -> None:
    """Add rows: to[neuron] += scale · Σ source[row] for `count` int32 neurons, over `each` one-byte rows."""
    sums = e.variables([e.full(0.0)] * e.vectors)
    factor = e.splat(scale)

    def place_of(index: Any) -> Any:
        neuron = e.b.load(e.pointer(e.row(neurons, index, e.const(4)), I32), align=4)
        return e.row(to, e.b.zext(neuron, I64), to_pitch)

    with cgutils.for_range(e.b, count) as loop:
        there = place_of(loop.index)
        e.prefetch(place_of(e.b.add(loop.index, e.const(AHEAD))))
        for slot in sums:
            e.b.store(e.full(0.0), slot)
        with e.each_row(e.row(rows, loop.index, each), each) as row:
            place = e.row(source, row, pitch)
            for v, slot in enumerate(sums):
                e.b.store(e.b.fadd(e.b.load(slot), e.load(place, v), flags=FAST), slot)
        for v, slot in enumerate(sums):
            e.store(e.mul_add(e.b.load(slot), factor, e.load(there, v)), there, v)


@kernel(0, 3)
def add_row(e: Emit, to: Any, source: Any, count: Any) -> None:
    """Add rows: to += source over `count` groups of vectors."""
    width = e.const(e.vectors * LANES * e.size)
    with cgutils.for_range(e.b, count) as loop:
        a, b = e.row(to, loop.index, width), e.row(source, loop.index, width)
        for v in range(e.vectors):
            e.store(e.b.fadd(e.load(a, v), e.load(b, v)), a, v)


@kernel(1, 3)
def fill(e: Emit, value: Any, to: Any, pitch: Any, rows: Any) -> None:
    """Set a panel of `rows` rows to one value."""
    with cgutils.for_range(e.b, rows) as loop:
        place = e.row(to, loop.index, pitch)
        for v in range(e.vectors):
            e.store(e.splat(value), place, v)


@kernel(0, 4)
def copy_rows(e: Emit, to: Any, pitch: Any, source: Any, rows: Any) -> None:
    """Every row of a panel becomes the same source row (a bias)."""
    values = [e.load(source, v) for v in range(e.vectors)]
    with cgutils.for_range(e.b, rows) as loop:
        place = e.row(to, loop.index, pitch)
        for v, value in enumerate(values):
            e.store(value, place, v)


@kernel(0, 4)
def column_sum(e: Emit, to: Any, source: Any, pitch: Any, rows: Any) -> None:
    """Add rows: to += Σ of the rows of a panel."""
    sums = e.variables([e.load(to, v) for v in range(e.vectors)])
    with cgutils.for_range(e.b, rows) as loop:
        place = e.row(source, loop.index, pitch)
        for v, slot in enumerate(sums):
            e.b.store(e.b.fadd(e.b.load(slot), e.load(place, v)), slot)
    for v, slot in enumerate(sums):
        e.store(e.b.load(slot), to, v)


@kernel(1, 9)
def product(
    e: Emit,
    old: Any,
    c: Any,
    c_pitch: Any,
    a: Any,
    a_row: Any,
    a_depth: Any,
    b: Any,
    b_pitch: Any,
    rows: Any,
    depth: Any,
) -> None:
    """c[row] ← old · c[row] + Σ_k a[row, k] b[k], rows of c and b one panel wide; strides of a in bytes."""

    def tile(height: int, first: Any) -> None:
        here = e.row(c, first, c_pitch)
        lines = [e.row(here, e.const(i), c_pitch) for i in range(height)]
        factor = e.splat(old)
        with e.b.if_else(e.b.fcmp_ordered("==", old, ir.Constant(e.ft, 0.0))) as (fresh, kept):
            with fresh:
                for slot in slots[: height * e.vectors]:
                    e.b.store(e.full(0.0), slot)
            with kept:
                for i in range(height):
                    for v in range(e.vectors):
                        e.b.store(e.b.fmul(e.load(lines[i], v), factor), slots[i * e.vectors + v])
        start = e.row(a, first, a_row)
        with cgutils.for_range(e.b, depth) as loop:
            right = e.row(b, loop.index, b_pitch)
            left = e.row(start, loop.index, a_depth)
            columns = [e.load(right, v) for v in range(e.vectors)]
            for i in range(height):
                x = e.splat(e.load_scalar(e.row(left, e.const(i), a_row)))
                for v, column in enumerate(columns):
                    slot = slots[i * e.vectors + v]
                    e.b.store(e.mul_add(x, column, e.b.load(slot)), slot)
        for i in range(height):
            for v in range(e.vectors):
                e.store(e.b.load(slots[i * e.vectors + v]), lines[i], v)

    slots = e.variables([e.full(0.0)] * (ROWS * e.vectors))
    whole = e.b.sdiv(rows, e.const(ROWS))
    with cgutils.for_range(e.b, whole) as loop:
        tile(ROWS, e.b.mul(loop.index, e.const(ROWS)))
    done = e.b.mul(whole, e.const(ROWS))
    pairs = e.b.sdiv(e.b.sub(rows, done), e.const(2))
    with cgutils.for_range(e.b, pairs) as loop:
        tile(2, e.b.add(done, e.b.mul(loop.index, e.const(2))))
    done = e.b.add(done, e.b.mul(pairs, e.const(2)))
    with cgutils.for_range(e.b, e.b.sub(rows, done)) as loop:
        tile(1, e.b.add(done, loop.index))


@kernel(0, 2)
def take_row(e: Emit, to: Any, source: Any) -> None:
    """Add rows: to += source, source ← 0."""
    for v in range(e.vectors):
        e.store(e.b.fadd(e.load(to, v), e.load(source, v)), to, v)
        e.store(e.full(0.0), source, v)


@kernel(6, 5)
def adam(
    e: Emit,
    rise: Any,
    beta2: Any,
    step: Any,
    root: Any,
    epsilon: Any,
    decay: Any,
    p: Any,
    packed: Any,
    g: Any,
    m: Any,
    v: Any,
) -> None:
    """Adam on one row of a panel; the gradient is left at 0 and `packed` gets a copy of p."""
    b = e.b
    up, keep, size, bias, least, shrink = (e.splat(x) for x in (rise, beta2, step, root, epsilon, decay))
    other = b.fsub(e.full(1.0), keep)
    for k in range(e.vectors):
        w = e.load(p, k)
        x = e.mul_add(w, shrink, e.load(g, k))
        m0 = e.load(m, k)
        m1 = e.mul_add(b.fsub(x, m0), up, m0)
        v1 = e.mul_add(e.load(v, k), keep, b.fmul(b.fmul(x, x), other))
        bottom = e.mul_add(b.call(e.function("llvm.sqrt", 1), [v1]), bias, least)
        new = b.fsub(w, b.fmul(b.fmul(size, m1), e.reciprocal(bottom)))
        e.store(new, p, k)
        e.store(new, packed, k)
        e.store(m1, m, k)
        e.store(v1, v, k)
        e.store(e.full(0.0), g, k)


@kernel(2, 7)
def carry_rows(
    e: Emit,
    decay: Any,
    late: Any,
    gradient: Any,
    filtered: Any,
    membrane: Any,
    inputs: Any,
    waiting: Any,
    factors: Any,
    count: Any,
) -> None:
    """Learn from traces per synapse at the start of a chunk and decay them, for `count` rows of a panel.

    With ε, ē of a row, p and w = late · waiting of its neuron, and factors a to j, in rows:
    gradient += aē + bε + cp + dw;  ē ← decay · ē + eε + fp + gw;  ε ← hε + ip + jw.
    """
    n, b = e.vectors, e.b
    width = e.const(n * LANES * e.size)
    rows = [e.row(factors, e.const(k), width) for k in range(10)]
    shrink = e.splat(decay)
    with cgutils.for_range(b, count) as loop:
        offset = b.mul(loop.index, e.const(e.size))
        p = e.splat(e.load_scalar(b.add(inputs, offset)))
        w = e.splat(b.fmul(e.load_scalar(b.add(waiting, offset)), late))
        to, slow, fast = (e.row(x, loop.index, width) for x in (gradient, filtered, membrane))
        for v in range(n):
            f = [e.load(row, v) for row in rows]
            old, tail = e.load(fast, v), e.load(slow, v)
            learnt = e.mul_add(f[0], tail, e.load(to, v))
            for factor, value in ((f[1], old), (f[2], p), (f[3], w)):
                learnt = e.mul_add(factor, value, learnt)
            e.store(learnt, to, v)
            tail = b.fmul(shrink, tail)
            for factor, value in ((f[4], old), (f[5], p), (f[6], w)):
                tail = e.mul_add(factor, value, tail)
            e.store(tail, slow, v)
            kept = b.fmul(f[7], old)
            for factor, value in ((f[8], p), (f[9], w)):
                kept = e.mul_add(factor, value, kept)
            e.store(kept, fast, v)
