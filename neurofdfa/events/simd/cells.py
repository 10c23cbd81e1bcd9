"""Neurons, pseudo-derivatives and tangents, one panel at a time."""

# pyright: basic, reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false, reportGeneralTypeIssues=false
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils

from neurofdfa.events.simd.emit import FAST, I8, I64, LANES, Emit, kernel


@kernel(5, 6)
def lif(
    e: Emit,
    alpha: Any,
    beta: Any,
    kept: Any,
    lost: Any,
    theta: Any,
    drive: Any,
    pitch: Any,
    spikes: Any,
    rows: Any,
    state: Any,
    fired: Any,
) -> None:
    """Steps of one panel of neurons: drive becomes the membrane, `spikes` a word of bits per step.

    i = αi⁻ + drive;  u = i + (kept · u⁻ − lost where it spiked, else βu⁻). state: i, then u; fired: the
    word of the step before.
    """
    n = e.vectors
    i = e.variables([e.load(state, v) for v in range(n)])
    u = e.variables([e.load(state, n + v) for v in range(n)])
    word = e.b.load(e.pointer(fired, I64))
    s = e.variables([e.mask(word, v) for v in range(n)])
    last = e.variables([word])[0]
    a, b, k, d, limit = (e.splat(x) for x in (alpha, beta, kept, lost, theta))
    with cgutils.for_range(e.b, rows) as loop:
        place = e.row(drive, loop.index, pitch)
        bits = e.const(0)
        for v in range(n):
            current = e.mul_add(a, e.b.load(i[v]), e.load(place, v))
            before = e.b.load(u[v])
            reset = e.b.fsub(e.b.fmul(k, before, flags=FAST), d, flags=FAST)
            rest = e.b.select(e.b.load(s[v]), reset, e.b.fmul(b, before))
            membrane = e.b.fadd(rest, current)
            spike = e.b.fcmp_ordered(">", membrane, limit)
            e.store(membrane, place, v)
            e.b.store(current, i[v])
            e.b.store(membrane, u[v])
            e.b.store(spike, s[v])
            bits = e.b.or_(bits, e.b.shl(e.bits(spike), e.const(v * LANES)))
        e.b.store(bits, e.pointer(e.row(spikes, loop.index, e.const(8)), I64))
        e.b.store(bits, last)
    for v in range(n):
        e.store(e.b.load(i[v]), state, v)
        e.store(e.b.load(u[v]), state, n + v)
    e.b.store(e.b.load(last), e.pointer(fired, I64))


@kernel(5, 9)
def lif_general(
    e: Emit,
    soft: Any,
    lost: Any,
    theta: Any,
    adaptation: Any,
    rho: Any,
    alphas: Any,
    betas: Any,
    drive: Any,
    pitch: Any,
    membranes: Any,
    spikes: Any,
    rows: Any,
    state: Any,
    fired: Any,
) -> None:
    """As `lif`, with decays per neuron and adaptive thresholds: i = αi⁻ + drive;  u = βu⁻ + i, reset;
    a = ρa⁻ + s⁻;  drive becomes u − ba, which spikes above θ.

    soft: 0 where the membrane starts from 0 after a spike. state: i, u, a.
    """
    b, n = e.b, e.vectors
    i, u, a = (e.variables([e.load(state, k * n + v) for v in range(n)]) for k in range(3))
    last = e.variables([b.load(e.pointer(fired, I64))])[0]
    alpha, beta = ([e.load(x, v) for v in range(n)] for x in (alphas, betas))
    keep, limit, take, rise, slow = (e.splat(x) for x in (soft, theta, lost, adaptation, rho))
    with cgutils.for_range(b, rows) as loop:
        place, seen = e.row(drive, loop.index, pitch), e.row(membranes, loop.index, pitch)
        bits, word = e.const(0), b.load(last)
        for v in range(n):
            spiked = e.mask(word, v)
            current = e.mul_add(alpha[v], b.load(i[v]), e.load(place, v))
            held = b.fmul(beta[v], b.load(u[v]))
            held = b.select(spiked, b.fsub(b.fmul(keep, held, flags=FAST), take, flags=FAST), held)
            membrane = b.fadd(held, current)
            lag = b.fmul(slow, b.load(a[v]))
            lag = b.select(spiked, b.fadd(lag, e.full(1.0)), lag)
            distance = b.fsub(membrane, b.fmul(rise, lag, flags=FAST), flags=FAST)
            e.store(membrane, seen, v)
            e.store(distance, place, v)
            b.store(current, i[v])
            b.store(membrane, u[v])
            b.store(lag, a[v])
            bits = b.or_(bits, b.shl(e.bits(b.fcmp_ordered(">", distance, limit)), e.const(v * LANES)))
        b.store(bits, e.pointer(e.row(spikes, loop.index, e.const(8)), I64))
        b.store(bits, last)
    for k, slots in enumerate((i, u, a)):
        for v in range(n):
            e.store(b.load(slots[v]), state, k * n + v)
    b.store(b.load(last), e.pointer(fired, I64))


def _surrogate(name: str, shape: Callable[[Emit, Any, Any, Any], Any]) -> Any:
    def body(
        e: Emit,
        theta: Any,
        inverse: Any,
        height: Any,
        to: Any,
        source: Any,
        pitch: Any,
        rows: Any,
        zeros: Any,
    ) -> None:
        limit, narrow, high = e.splat(theta), e.splat(inverse), e.splat(height)
        count = e.variables([e.const(0)])[0]
        width = e.const(e.vectors * LANES * e.size)
        with cgutils.for_range(e.b, rows) as loop:
            here, there = e.row(source, loop.index, pitch), e.row(to, loop.index, width)
            for v in range(e.vectors):
                distance = e.b.fmul(e.b.fsub(e.load(here, v), limit), narrow)
                value = shape(e, distance, high, count)
                e.store(value, there, v)
        place = e.pointer(zeros, I64)
        e.b.store(e.b.add(e.b.load(place), e.b.load(count)), place)

    body.__name__ = name
    return kernel(3, 5)(body)


def _count_zeros(e: Emit, value: Any, count: Any) -> None:
    zero = e.bits(e.b.fcmp_ordered("==", value, e.full(0.0)))
    e.b.store(e.b.add(e.b.load(count), e.b.ctpop(zero)), count)


def _fast_sigmoid(e: Emit, d: Any, height: Any, count: Any) -> Any:
    r = e.reciprocal(e.b.fadd(e.absolute(d), e.full(1.0)))
    return e.b.fmul(e.b.fmul(r, r), height)


def _triangular(e: Emit, d: Any, height: Any, count: Any) -> Any:
    value = e.maximum(e.b.fsub(e.full(1.0), e.absolute(d)), e.full(0.0))
    _count_zeros(e, value, count)
    return e.b.fmul(value, height)


def _arctan(e: Emit, d: Any, height: Any, count: Any) -> Any:
    x = e.b.fmul(d, e.full(3.141592653589793))
    return e.b.fmul(e.reciprocal(e.mul_add(x, x, e.full(1.0))), height)


def _sigmoid(e: Emit, d: Any, height: Any, count: Any) -> Any:
    # 4σ(1 − σ) = 4q/(1 + q)² with q = exp(−|d|), which neither overflows nor cancels
    q = e.exponential(e.b.fsub(e.full(0.0), e.absolute(d)))
    r = e.reciprocal(e.b.fadd(q, e.full(1.0)))
    value = e.b.fmul(e.b.fmul(e.b.fmul(q, e.full(4.0)), r), r)
    _count_zeros(e, value, count)
    return e.b.fmul(value, height)


fast_sigmoid = _surrogate("fast_sigmoid", _fast_sigmoid)


triangular = _surrogate("triangular", _triangular)


arctan = _surrogate("arctan", _arctan)


sigmoid = _surrogate("sigmoid", _sigmoid)


@kernel(5, 13)
def tangent(
    e: Emit,
    hard: Any,
    reset: Any,
    through: Any,
    adaptation: Any,
    rho: Any,
    alphas: Any,
    betas: Any,
    drive: Any,
    pitch: Any,
    psi: Any,
    membranes: Any,
    spikes: Any,
    fired: Any,
    gain: Any,
    probe: Any,
    to: Any,
    rows: Any,
    state: Any,
) -> None:
    """Derivative of `lif_general` along a probe: i̇ = αi̇⁻ + drive, u̇ = k u̇⁻ − l ṡ⁻ + i̇, ȧ = ρȧ⁻ + ṡ⁻,
    ṡ = ψ(u̇ − bȧ), to = gain · ṡ + probe.

    k = β, times `hard` where the neuron spiked in the step before, and l = reset + through · βu⁻. fired: the
    word before the first row. state: i̇, u̇, and what the next step needs, l ṡ and ȧ.
    """
    b, n = e.b, e.vectors
    i, u, back, lag = (e.variables([e.load(state, k * n + v) for v in range(n)]) for k in range(4))
    last = e.variables([b.load(e.pointer(fired, I64))])[0]
    alpha, beta = ([e.load(x, v) for v in range(n)] for x in (alphas, betas))
    keep, lost, taken, rise, slow = (e.splat(x) for x in (hard, reset, through, adaptation, rho))
    width = e.const(n * LANES * e.size)
    with cgutils.for_range(b, rows) as loop:
        place, shape = e.row(drive, loop.index, pitch), e.row(psi, loop.index, width)
        noise, there = e.row(probe, loop.index, pitch), e.row(to, loop.index, pitch)
        seen, word = e.row(membranes, loop.index, width), b.load(last)
        for v in range(n):
            current = e.mul_add(alpha[v], b.load(i[v]), e.load(place, v))
            held = b.fmul(beta[v], b.load(u[v]))
            held = b.select(e.mask(word, v), b.fmul(held, keep), held)
            membrane = b.fadd(b.fsub(held, b.load(back[v])), current)
            b.store(current, i[v])
            b.store(membrane, u[v])
            late = b.load(lag[v])
            sent = b.fmul(b.fsub(membrane, b.fmul(rise, late, flags=FAST), flags=FAST), e.load(shape, v))
            loss = e.mul_add(b.fmul(taken, beta[v]), e.load(seen, v), lost)
            b.store(b.fmul(loss, sent), back[v])
            b.store(e.mul_add(slow, late, sent), lag[v])
            e.store(e.mul_add(sent, e.load(gain, v), e.load(noise, v)), there, v)
        b.store(b.load(e.pointer(e.row(spikes, loop.index, e.const(8)), I64)), last)
    for k, slots in enumerate((i, u, back, lag)):
        for v in range(n):
            e.store(b.load(slots[v]), state, k * n + v)


@kernel(0, 2)
def bytes_of(e: Emit, to: Any, word: Any) -> None:
    """Bits of a word as bytes 0 and 1, one panel wide."""
    kind = ir.VectorType(I8, LANES)
    for v in range(e.vectors):
        e.b.store(e.b.zext(e.mask(word, v), kind), e.pointer(e.b.add(to, e.const(v * LANES)), kind), align=1)


@kernel(0, 2)
def signs(e: Emit, to: Any, word: Any) -> None:
    """Bits of a word as +1 and −1, one panel wide."""
    for v in range(e.vectors):
        e.store(e.b.select(e.mask(word, v), e.full(1.0), e.full(-1.0)), to, v)
