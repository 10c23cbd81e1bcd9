"""Filters along time, and the error of a softmax."""

# pyright: basic, reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false, reportGeneralTypeIssues=false
from typing import Any

from llvmlite import ir
from numba.core import cgutils

from neurofdfa.events.simd.emit import FAST, I32, I64, LANES, Emit, kernel


@kernel(3, 9)
def reverse_filter(
    e: Emit,
    first: Any,
    second: Any,
    third: Any,
    signal: Any,
    pitch: Any,
    psi: Any,
    gain: Any,
    extra: Any,
    extra_pitch: Any,
    rows: Any,
    carry: Any,
    ones: Any,
) -> None:
    """Turn learning signals into errors filtered against time, in place, from the last row to the first.

    δ = (signal · gain + extra) ψ;  D = δ filtered by `first` (κ), then `second` (β), then `third` (α).
    carry: the three filters' values at the first row. ones: unused.
    """
    n = e.vectors
    gains = [e.load(gain, v) for v in range(n)]
    decays = [e.splat(x) for x in (first, second, third)]
    filters = [e.variables([e.full(0.0)] * n) for _ in decays]
    width = e.const(n * LANES * e.size)
    with cgutils.for_range(e.b, rows) as loop:
        t = e.b.sub(e.b.sub(rows, loop.index), e.const(1))
        place, shape = e.row(signal, t, pitch), e.row(psi, t, width)
        added = e.row(extra, t, extra_pitch)
        for v in range(n):
            x = e.mul_add(e.load(place, v), gains[v], e.load(added, v))
            x = e.b.fmul(x, e.load(shape, v))
            for decay, slots in zip(decays, filters, strict=True):
                x = e.mul_add(decay, e.b.load(slots[v]), x)
                e.b.store(x, slots[v])
            e.store(x, place, v)
    for k, slots in enumerate(filters):
        for v in range(n):
            e.store(e.b.load(slots[v]), carry, k * n + v)


@kernel(5, 12)
def reverse_exact(
    e: Emit,
    hard: Any,
    reset: Any,
    through: Any,
    adaptation: Any,
    rho: Any,
    alphas: Any,
    betas: Any,
    signal: Any,
    pitch: Any,
    psi: Any,
    gain: Any,
    extra: Any,
    extra_pitch: Any,
    spikes: Any,
    membranes: Any,
    rows: Any,
    state: Any,
) -> None:
    """The adjoint of a trace per synapse, in place: what a step's input to the membrane adds to the gradient.

    With λ = signal · gain + extra, filtered by the readout already, from the last row to the first:
    g = λ + A⁺ − l E⁺,  E = ψg + k E⁺,  A = ρA⁺ − bψg,  P = αP⁺ + E,
    k = β, times `hard` where the neuron spikes; l = reset + through · βu. state: E, A, P behind the last row,
    and in the end of the first.
    """
    n, b = e.vectors, e.b
    error, lag, sent = (e.variables([e.load(state, k * n + v) for v in range(n)]) for k in range(3))
    alpha, beta = ([e.load(x, v) for v in range(n)] for x in (alphas, betas))
    kept = [b.fmul(x, e.splat(hard)) for x in beta]
    taken = [b.fmul(x, e.splat(through)) for x in beta]
    lost, rise, slow = e.splat(reset), e.splat(adaptation), e.splat(rho)
    width = e.const(n * LANES * e.size)
    with cgutils.for_range(b, rows) as loop:
        t = b.sub(b.sub(rows, loop.index), e.const(1))
        place, shape, seen = e.row(signal, t, pitch), e.row(psi, t, width), e.row(membranes, t, width)
        added, word = e.row(extra, t, extra_pitch), b.load(e.pointer(e.row(spikes, t, e.const(8)), I64))
        for v in range(n):
            x = e.mul_add(e.load(place, v), e.load(gain, v), e.load(added, v))
            before, slope = b.load(error[v]), e.load(shape, v)
            loss = e.mul_add(taken[v], e.load(seen, v), lost)
            pull = b.fmul(
                b.fsub(b.fadd(x, b.load(lag[v])), b.fmul(loss, before, flags=FAST), flags=FAST), slope
            )
            now = e.mul_add(b.select(e.mask(word, v), kept[v], beta[v]), before, pull)
            b.store(now, error[v])
            b.store(b.fsub(b.fmul(slow, b.load(lag[v])), b.fmul(rise, pull, flags=FAST), flags=FAST), lag[v])
            now = e.mul_add(alpha[v], b.load(sent[v]), now)
            b.store(now, sent[v])
            e.store(now, place, v)
    for k, slots in enumerate((error, lag, sent)):
        for v in range(n):
            e.store(b.load(slots[v]), state, k * n + v)


@kernel(1, 5)
def backward_decay(e: Emit, decay: Any, to: Any, source: Any, pitch: Any, rows: Any, state: Any) -> None:
    """to[t] = source[t] + decay · to[t+1], from `state` behind the last row, which becomes the first."""
    d = e.splat(decay)
    slots = e.variables([e.load(state, v) for v in range(e.vectors)])
    with cgutils.for_range(e.b, rows) as loop:
        t = e.b.sub(e.b.sub(rows, loop.index), e.const(1))
        here, there = e.row(source, t, pitch), e.row(to, t, pitch)
        for v, slot in enumerate(slots):
            value = e.mul_add(d, e.b.load(slot), e.load(here, v))
            e.b.store(value, slot)
            e.store(value, there, v)
    for v, slot in enumerate(slots):
        e.store(e.b.load(slot), state, v)


@kernel(1, 5)
def forward_decay(e: Emit, decay: Any, to: Any, source: Any, pitch: Any, rows: Any, state: Any) -> None:
    """to[t] = source[t] + decay · to[t−1], starting from and leaving `state`."""
    d = e.splat(decay)
    slots = e.variables([e.load(state, v) for v in range(e.vectors)])
    with cgutils.for_range(e.b, rows) as loop:
        here, there = e.row(source, loop.index, pitch), e.row(to, loop.index, pitch)
        for v, slot in enumerate(slots):
            value = e.mul_add(d, e.b.load(slot), e.load(here, v))
            e.b.store(value, slot)
            e.store(value, there, v)
    for v, slot in enumerate(slots):
        e.store(e.b.load(slot), state, v)


@kernel(1, 6)
def softmax(e: Emit, weight: Any, to: Any, y: Any, used: Any, room: Any, label: Any, sums: Any) -> None:
    """Write to = weight · (softmax(y) − onehot(label)) for `used` of `room` · 16 values, 0 for the others.

    sums: receives Σ exp(y − max y), then max y.
    """
    b, it = e.b, ir.VectorType(I32, LANES)
    bottom, limit = e.full(-1e30), b.trunc(used, I32)
    ends = b.shuffle_vector(
        b.insert_element(ir.Constant(it, ir.Undefined), limit, ir.Constant(I32, 0)),
        ir.Constant(it, ir.Undefined), ir.Constant(it, [0] * LANES),
    )  # fmt: skip
    width = e.const(LANES * e.size)
    high, total = e.variables([bottom, e.full(0.0)])

    def inside(index: Any) -> Any:
        first = b.trunc(b.mul(index, e.const(LANES)), I32)
        lanes = b.shuffle_vector(
            b.insert_element(ir.Constant(it, ir.Undefined), first, ir.Constant(I32, 0)),
            ir.Constant(it, ir.Undefined), ir.Constant(it, [0] * LANES),
        )  # fmt: skip
        return b.icmp_signed("<", b.add(lanes, ir.Constant(it, list(range(LANES)))), ends)

    with cgutils.for_range(b, room) as loop:
        value = b.select(inside(loop.index), e.load(e.row(y, loop.index, width)), bottom)
        b.store(e.maximum(value, b.load(high)), high)
    kind = ir.FunctionType(e.ft, [e.vt])
    largest = cgutils.get_or_insert_function(b.module, kind, f"llvm.vector.reduce.fmax.v{LANES}f{8 * e.size}")
    top = b.call(largest, [b.load(high)])
    with cgutils.for_range(b, room) as loop:
        value = e.exponential(b.fsub(e.load(e.row(y, loop.index, width)), e.splat(top)))
        value = b.select(inside(loop.index), value, e.full(0.0))
        e.store(value, e.row(to, loop.index, width))
        b.store(b.fadd(value, b.load(total)), total)
    kind = ir.FunctionType(e.ft, [e.ft, e.vt])
    added = cgutils.get_or_insert_function(b.module, kind, f"llvm.vector.reduce.fadd.v{LANES}f{8 * e.size}")
    whole = b.call(added, [ir.Constant(e.ft, 0.0), b.load(total)], fastmath=FAST)
    factor = e.splat(b.fdiv(weight, whole))
    with cgutils.for_range(b, room) as loop:
        place = e.row(to, loop.index, width)
        e.store(b.fmul(e.load(place), factor), place)
    hit = e.pointer(e.row(to, label, e.const(e.size)), e.ft)
    b.store(b.fsub(b.load(hit), weight), hit)
    b.store(whole, e.pointer(sums, e.ft))
    b.store(top, e.pointer(b.add(sums, e.const(e.size)), e.ft))
